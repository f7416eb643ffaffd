"""What is the same in all rounds of a loop: the first version, the folds, the frozen labels, and the data."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.analysis import duplicates
from noisyjax.config.check import plan_of
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import difference
from noisyjax.data import on_table, prepare
from noisyjax.data.images import as_images
from noisyjax.loop import compare, first_version, folds
from noisyjax.loop.settings import Settings
from noisyjax.runs import identity, launch, run
from noisyjax.system import formats, storage
from noisyjax.tables import refs, versions
from noisyjax.tables.versions import Version

AUTHOR = 'rule:loop'  # who makes and commits versions
# Settings that say only when a loop ends and how it is scored: the same loop may go on with others.
LATER = ('rounds', 'patience', 'passes', 'final', 'controls', 'axes', 'scored')


@dataclasses.dataclass(frozen=True, eq=False)
class Ground:
  """What all rounds share.

  Attributes:
    folder: of the loop.
    recipe: config of its runs.
    settings: of the loop.
    plan: of `recipe`.
    first: version 0.
    place_of: int64 [R], place in the table of each row of the source; -1 = none.
    fold_of: int64 [N], fold of each row of the table; -1 = none.
    alike_of: int64 [N], equal for rows of the table whose images look equal, see `duplicates.alike`.
    files: files with the row numbers of each fold.
    frozen: int32 [N], frozen labels, see `compare.frozen_labels`.
    loaded: the data set; holds true labels, which only `truth` and the audit of the final runs read.
    engine: executes the runs; None = in this process.
  """

  folder: Path
  recipe: ConfigDict
  settings: Settings
  plan: Plan
  first: Version
  place_of: np.ndarray
  fold_of: np.ndarray
  alike_of: np.ndarray
  files: list[Path]
  frozen: np.ndarray
  loaded: prepare.Loaded
  engine: launch.Engine | None = None

  @property
  def table(self) -> Path:
    return self.folder / 'table'

  @property
  def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The arguments fold_of, place_of and alike_of of `evidence_of.gathered`."""
    return self.fold_of, self.place_of, self.alike_of

  @property
  def row_of(self) -> np.ndarray:
    """Row of the source of each row of the table, int64 [N]; -1 = none: the inverse of `place_of`."""
    out = np.full(len(self.first.rows), -1)
    there = np.flatnonzero(self.place_of >= 0)
    out[self.place_of[there]] = there
    return out

  @property
  def load(self) -> run.Load:
    """Loads the data of a run without reading the source again."""
    return functools.partial(prepare.prepare, found=self.loaded)

  def on(self, version: str, **fields: Any) -> ConfigDict:
    """Returns the config of a run on a version; `fields` are fields of `config.data`."""
    config = self.recipe.copy_and_resolve_references()
    config.data.table = f'{self.table}@{version}'
    for name, value in fields.items():
      config.data[name] = value
    return config

  def truth(self) -> np.ndarray:
    """Returns the true labels of the rows of the table, int32 [N]: for the simulated person alone."""
    out = np.full(len(self.first.rows), -1, np.int32)
    there = self.place_of >= 0
    out[self.place_of[there]] = self.loaded[1][there]
    return out


def of(recipe: ConfigDict, settings: Settings, folder: Path, engine: launch.Engine | None = None) -> Ground:
  """Makes the table and the folds of a loop, unless they are there.

  Raises:
    Stale: the folder holds a loop with another config or other folds.
    UserError: the data are invalid, or a class has too few labels.
  """
  plan = plan_of(recipe)
  recipe = plan.config
  _check_same(folder, plan, settings)
  loaded = prepare.load(recipe)
  if not (folder / 'table' / 'table.json').exists():
    first_version.of_config(recipe, folder / 'table', AUTHOR, loaded)
  first = versions.read(folder / 'table', refs.facts(folder / 'table')['first'])
  place_of = on_table.places_of(first.rows, loaded[0])
  placed = on_table.placed(loaded[0], _named(recipe, f'{folder / "table"}@{first.name}').data)
  digests = loaded[0].ids.astype('U64')  # a digest has 64 characters; the name may follow it
  alike = duplicates.alike(as_images(loaded[0].images), digests)
  parts = folds.drawn(placed.data, placed.parts.train, alike, settings.folds, recipe.data.seed)
  alike_of = np.full(len(first.rows), -1, np.int64)
  alike_of[place_of[place_of >= 0]] = alike[place_of >= 0]
  fold_of = np.full(len(first.rows), -1, np.int64)
  for number, rows in enumerate(parts):
    fold_of[place_of[rows]] = number
  files = folds.write(folder / 'folds', parts)
  frozen = compare.frozen_labels(first.rows, settings.folds)
  return Ground(folder, recipe, settings, plan, first, place_of, fold_of, alike_of, files, frozen, loaded, engine)


def _named(recipe: ConfigDict, table: str) -> ConfigDict:
  config = recipe.copy_and_resolve_references()
  config.data.table = table
  return config


def _check_same(folder: Path, plan: Plan, settings: Settings) -> None:
  """Writes loop.json, or raises Stale if it is of another loop, or of one that was moved."""
  whole = json.loads(json.dumps(dataclasses.asdict(settings)))
  now = {**identity.plain(plan), 'loop': whole, 'folder': str(folder)}
  path = folder / 'loop.json'
  if path.exists():
    then = formats.read_json(formats.LOOP, path)
    fixed = lambda c: {**c, 'loop': {k: v for k, v in c['loop'].items() if k not in LATER}, 'folder': ''}
    if lines := difference(fixed(then), fixed(now)):
      raise identity.stale(folder, 'holds a loop of another config', lines, rerun=False)
    if (began := then.get('folder', str(folder))) != str(folder):  # a record of an earlier version has none
      why = f'holds a loop that began in {began}, where its runs look for the table and the folds: move it back'
      raise identity.stale(folder, why, rerun=False)
    if then == now:
      return
  storage.make_folder(folder)
  formats.write_json(formats.LOOP, path, now)
