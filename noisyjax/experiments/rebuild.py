"""Writes the table and pictures of a folder of finished runs again."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import difference, restored
from noisyjax.experiments import kfold
from noisyjax.reports import collection
from noisyjax.reports.record import nested
from noisyjax.reports.tables import Table
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError, listed


def rebuild(workdir: str | Path) -> Table | str:
  """Writes the table of a sweep, or of the folds of a cross-validation, and returns it or its text.

  Raises:
    UserError: the folder has no finished run, a run is damaged, or folds are not of one cross-validation.
  """
  paths = collection.finished(workdir)
  if not paths or not all(re.fullmatch(r'fold=\d+', path.name) for path in paths):
    return collection.write(workdir)
  configs = [formats.read_json(formats.RUN, path / 'config.json') for path in paths]
  results = [formats.read_json(formats.RUN, path / 'result.json') for path in paths]
  _check_together(paths, configs, results)
  config = restored(configs[0], paths[0] / 'config.json')
  named = {path.name: result for path, result in zip(paths, results)}
  return kfold.table(named, workdir, Plan.of(config).watches_validation)


def _check_together(paths: Sequence[Path], configs: Sequence[Mapping], results: Sequence[Mapping]) -> None:
  """Raises UserError unless the folds have one config and one data set, and hold out different rows.

  An earlier cross-validation with more folds, one that was killed while it was replaced, or a copy may leave others.
  """
  held: dict[str, str] = {}
  for path, config, result in zip(paths, configs, results):
    rows = dict.fromkeys(storage.read_text(path / 'held.txt').split(), path.name)
    lines = difference(_common(configs[0]), _common(config))
    why = f'has another config ({listed(lines)})' if lines else ''
    if nested(result, 'audit.source') != nested(results[0], 'audit.source'):
      why = why or 'is of other data'
    if both := held.keys() & rows.keys():
      why = why or f'holds out {len(both)} rows that {held[min(both)]} holds out, too'
    if why:
      raise UserError(
        f'{path}: {why}; expected the folds of one cross-validation, as {paths[0].name} is of. Move those of another '
        'one out of the folder, or, if kfold was interrupted, give its command again.'
      )
    held |= rows


def _common(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the config that the folds share."""
  return {**config, 'data': {k: v for k, v in config['data'].items() if k not in ('train', 'val')}}
