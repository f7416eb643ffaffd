"""Many runs of one recipe: a grid over flags, a generator in configs/sweeps/, or the folds of a cross-validation.

Here one after another in this process, where runs that differ in numbers alone share one compiled step.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config import recipe, recipe_files
from noisyjax.config.check import checked
from noisyjax.config.override import override
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import restored
from noisyjax.data import on_table, prepare, split
from noisyjax.reports import collection, formatting
from noisyjax.reports.tables import Spread, Table
from noisyjax.runs import identity, run
from noisyjax.system import formats, interrupt, lock, storage
from noisyjax.system.errors import Diverged, UserError, listed
from noisyjax.system.log import log

Overrides = dict[str, Any]


def grid(axes: list[str]) -> Iterator[Overrides]:
  """Yields the product of axes such as "optim.lr=0.1,0.01" and "seed=0,1,2".

  Raises:
    UserError: an axis that is not field=value,value,….
  """
  parsed = []
  for axis in axes:
    field, _, values = axis.partition('=')
    if not field or not values:
      raise UserError(f"--grid: found {axis!r}, expected field=value,value,… such as 'optim.lr=0.1,0.01'.")
    parsed.append([(field, _literal(v)) for v in _split(values)])
  for point in itertools.product(*parsed):
    yield dict(point)


def _split(values: str) -> list[str]:
  """Splits at commas outside brackets, so that a tuple can be a value."""
  parts, depth = [''], 0
  for c in values:
    depth += (c in '([{') - (c in ')]}')
    if c == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += c
  return parts


def _literal(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def generated(path: str) -> list[Overrides]:
  """Returns what `sweep()` of a Python file, or of a shipped one by name, yields: dicts of dotted field → value.

  Raises:
    UserError: no such file, one that cannot be run, no `sweep` in it, or one that yields something else.
  """
  points = recipe.run(recipe_files.located(path, '--sweep', 'sweeps'), 'sweep')
  expected = 'expected a function sweep() that yields dicts of field → value'
  if not isinstance(points, list | tuple):
    raise UserError(f'{path}: sweep() returns a {type(points).__name__}; {expected}.')
  for i, point in enumerate(points):
    if not isinstance(point, dict) or not all(isinstance(field, str) for field in point):
      raise UserError(f'{path}: point {i} is {point!r}; {expected}.')
  return list(points)


def name(overrides: Overrides) -> str:
  """Returns a folder name that tells the point: "lr=0.1,seed=1"."""
  taken = [collection.short(f) for f in overrides]
  plain = lambda v: re.sub(r'[^\w.+-]+', '_', str(v)).strip('_')
  label = lambda f: f if taken.count(collection.short(f)) > 1 else collection.short(f)
  return ','.join(f'{label(k)}={plain(v)}' for k, v in overrides.items()) or 'base'


def sweep(config: ConfigDict, points: list[Overrides], workdir: str, rerun: bool = False) -> tuple[list[dict], str]:
  """Runs every point in a folder of its own; finished ones are not run twice.

  With `rerun`, those whose config, data or code differ from today's are.

  Returns:
    The results, and the table of all finished runs in the folder, those of earlier calls too, grouped over seeds (also
    in table.md, table.csv and table.tex).
  Raises:
    UserError: before anything runs, for a point that names an unknown field or makes a bad config, and for folders that
      hold runs of another config or other data (see `run.run`); when all else has run and is in the table, for points
      that diverged.
  """
  built, taken = [], {}
  for i, point in enumerate(points):
    own = config.copy_and_resolve_references()
    override(own, point, f'sweep point {i} ({name(point)})')
    own = checked(own)
    if (other := taken.setdefault(name(point), i)) != i:
      what = 'are the same' if points[other] == point else f'would share a folder: {points[other]} and {point}'
      raise UserError(f'sweep: points {other} and {i} ({name(point)}) {what}; expected every point once.')
    built.append((point, own))
  if not built:
    raise UserError('sweep: there is no point to run.')
  with lock.held(workdir):
    return _run_all(built, workdir, rerun)


def _run_all(built: list[tuple[Overrides, ConfigDict]], workdir: str, rerun: bool) -> tuple[list[dict], str]:
  load = _remembering()
  if not rerun:
    _check_old(built, workdir, load)
  names = [name(point) for point, _ in built]
  collection.remember(workdir, names, list(dict.fromkeys(f for point, _ in built for f in point)))
  results, failed = [], []
  with interrupt.watched():
    for i, (point, own) in enumerate(built):
      interrupt.check(f'{workdir}', f'after {i} of {len(built)} points; the same command goes on.')
      log.info('%d of %d: %s', i + 1, len(built), name(point))
      try:
        results.append(run.run(own, Path(workdir) / name(point), rerun=rerun, load=load))
      except Diverged as error:
        log.error('%s', error)
        failed.append((point, error))
  if not results:
    raise failed[0][1]
  text = str(collection.write(workdir))
  if failed:
    points = listed(name(point) for point, _ in failed)
    raise UserError(
      f'sweep: {len(failed)} of {len(built)} points diverged ({points}); {Path(workdir) / "table.md"} has the others. '
      f'The first: {failed[0][1]}'
    )
  return results, text


def _remembering() -> run.Load:
  """Returns `prepare` with a memory of its last call: points that share their data load them once."""
  memory = {}

  def load(config: ConfigDict) -> tuple[prepare.Prepared, prepare.Audit]:
    key = config.data.to_json() + config.noise.to_json()  # all that it looks at
    if key not in memory:
      memory.clear()
      memory[key] = prepare.prepare(config)
    return memory[key]

  return load


def _check_old(built: list[tuple[Overrides, ConfigDict]], workdir: str, load: run.Load) -> None:
  """Raises Stale for all points that lie there of another config or other data, before any is run."""
  found = {}
  for point, own in built:
    try:
      run.finished(Plan.of(own), Path(workdir) / name(point), load)
    except identity.Stale as error:
      found[name(point)] = error
  if found:
    raise identity.Stale(
      f'{workdir}: {len(found)} of {len(built)} points are of other data or another config, and nothing is run beside '
      f'them: {listed(found)}. The first: {next(iter(found.values()))}'
    )


def kfold(config: ConfigDict, k: int, workdir: str, rerun: bool = False) -> tuple[list[dict], str]:
  """Runs k-fold cross-validation over the training rows; each fold validates where it was held out.

  The folds are stratified by given label and keep duplicates together. A held row is scored with the labels that
  `data.val_labels` names, where it has one, so the mean over folds is a mean over those.

  Returns:
    The results, and a table of validation accuracies with their mean and standard deviation (also in table.md,
    table.csv and table.tex).
  """
  config = config.copy_and_resolve_references()
  on_table.refuse(config.data, 'kfold')
  config.data.val = '@'  # each fold's own, below
  config = checked(config)
  whole = config.copy_and_resolve_references()
  whole.data.val = ''
  data, truth, _, source = prepare.load(config)
  parts = split.split(data, truth, whole.data, source)
  labels = data.given if config.data.val_labels == 'given' else data.verified
  folds = split.folds(parts.train, labels, data.ids, k, config.data.seed)
  scored = [(kept, held[labels[held] >= 0]) for kept, held in folds]  # what has no such label cannot be scored
  with lock.held(workdir), interrupt.watched():
    if not rerun:
      _check_division(config, Path(workdir), scored)
    collection.remember(workdir, [f'fold={i}' for i in range(k)], [])
    results = []
    for i, (kept, held) in enumerate(scored):
      interrupt.check(f'{workdir}', f'after {i} of {k} folds; the same command goes on.')
      folder = Path(workdir) / f'fold={i}'
      storage.make_folder(folder)
      for path, text in _row_files(folder, kept, held).items():
        storage.write_text(path, text)
      log.info('fold %d of %d: %d rows held out', i + 1, k, len(held))
      results.append(run.run(_fold_config(config, folder), folder, rerun=rerun))
    return results, str(_fold_table(results, workdir, Plan.of(config).watches_validation))


def _row_files(folder: Path, kept: np.ndarray, held: np.ndarray) -> dict[Path, str]:
  """Returns path → content of the files that name a fold's rows: those that train, and those that validate."""
  return {
    folder / f'{name}.txt': ''.join(f'{row}\n' for row in rows) for name, rows in (('kept', kept), ('held', held))
  }


def _fold_config(config: ConfigDict, folder: Path) -> ConfigDict:
  own = config.copy_and_resolve_references()
  own.data.train, own.data.val = f'@{folder / "kept.txt"}', f'@{folder / "held.txt"}'
  return own


def _check_division(config: ConfigDict, workdir: Path, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
  """Raises Stale for a fold of another division of the data, before any is run or its rows are overwritten."""
  for i, (kept, held) in enumerate(folds):
    folder = workdir / f'fold={i}'
    for path, text in _row_files(folder, kept, held).items():
      if path.exists() and (there := storage.read_text(path)) != text:
        try:  # changed labels change the division: then it is they that are to be told
          run.finished(Plan.of(_fold_config(config, folder)), folder, prepare.prepare)
        except identity.Stale:
          raise
        except UserError:  # its rows are not even there
          pass
        line = f'rows in {path.name}: {there.count(chr(10)):,} → {text.count(chr(10)):,}'
        raise identity.stale(folder, 'holds a fold of another division of the data', [line])


def rebuild(workdir: str | Path) -> Table:
  """Writes the tables and pictures of a folder of finished runs anew: a sweep's, or the folds of a cross-validation."""
  paths = collection.finished(workdir)
  if not paths or not all(re.fullmatch(r'fold=\d+', path.name) for path in paths):
    return collection.write(workdir)
  config = restored(formats.read_json(formats.RUN, paths[0] / 'config.json'))
  results = [formats.read_json(formats.RUN, path / 'result.json') for path in paths]
  return _fold_table(results, workdir, Plan.of(config).watches_validation)


def _fold_table(results: list[dict], workdir: str | Path, watched: bool) -> Table:
  found = [r['validation'] for r in results]
  end = 'last (stopped or scheduled by these same rows: optimistic)' if watched else 'last'
  names = (f'rows held out ({found[0]["labels"]} labels)', end, 'best epoch by these same rows (optimistic)')
  rows = [
    (str(i), formatting.text(v['rows']), *(_accuracy([v], name) for name in ('last', 'best')))
    for i, v in enumerate(found)
  ]
  rows.append(
    (
      f'mean ± std ({len(found)})',
      formatting.text(sum(v['rows'] for v in found)),
      *(_accuracy(found, name) for name in ('last', 'best')),
    )
  )
  table = Table(('fold', *names), rows, ['[ ]: 95 % interval (Wilson) of an accuracy that is counted on so many rows.'])
  collection.write_table(workdir, table)
  return table


def _accuracy(folds: list[dict], name: str) -> Spread | None:
  """Mean over folds, and the interval of a share of all their rows."""
  found = formatting.mean_std([v[name] for v in folds])
  if found is None:
    return None
  mean, std = found
  low, high = formatting.wilson(mean, sum(v['rows'] for v in folds))
  return Spread(100 * mean, None if std is None else 100 * std, len(folds), (100 * low, 100 * high))
