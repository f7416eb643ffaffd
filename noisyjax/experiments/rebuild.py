"""Writes the table and pictures of a folder of finished runs again."""

import re
from pathlib import Path

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import restored
from noisyjax.experiments import kfold
from noisyjax.reports import collection
from noisyjax.reports.tables import Table
from noisyjax.system import formats


def rebuild(workdir: str | Path) -> Table | str:
  """Writes the table of a sweep, or of the folds of a cross-validation, and returns it or its text."""
  paths = collection.finished(workdir)
  if not paths or not all(re.fullmatch(r'fold=\d+', path.name) for path in paths):
    return collection.write(workdir)
  file = paths[0] / 'config.json'
  config = restored(formats.read_json(formats.RUN, file), file)
  results = {path.name: formats.read_json(formats.RUN, path / 'result.json') for path in paths}
  return kfold.table(results, workdir, Plan.of(config).watches_validation)
