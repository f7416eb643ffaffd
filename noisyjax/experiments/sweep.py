"""Many runs of one recipe: a grid over flags, a generator in configs/sweeps/, or the folds of a cross-validation.

Here one after another in this process, where runs that differ in numbers alone share one compiled step.
"""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax import config as configs, lock, recipe, recipe_files, run, writer
from noisyjax.data import prepare, split
from noisyjax.errors import Diverged, UserError
from noisyjax.experiments import collection, words
from noisyjax.experiments.tables import Spread, Table
from noisyjax.log import log

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
    if not isinstance(point, dict):
      raise UserError(f'{path}: point {i} is {point!r}; {expected}.')
  return points


def name(overrides: Overrides) -> str:
  """Returns a folder name that tells the point: "lr=0.1,seed=1"."""
  taken = [collection.short(f) for f in overrides]
  plain = lambda v: re.sub(r'[^\w.+-]+', '_', str(v)).strip('_')
  label = lambda f: f if taken.count(collection.short(f)) > 1 else collection.short(f)
  return ','.join(f'{label(k)}={plain(v)}' for k, v in overrides.items()) or 'base'


def sweep(config: ConfigDict, points: list[Overrides], workdir: str) -> tuple[list[dict], str]:
  """Runs every point in a folder of its own; finished ones are not run twice.

  Returns:
    The results, and the table of all finished runs in the folder, those of earlier calls too, grouped over seeds (also
    in table.md, table.csv and table.tex).
  Raises:
    UserError: before anything runs, for a point that names an unknown field or makes a bad config; when all else has
      run and is in the table, for points whose loss left the numbers.
  """
  built, taken = [], {}
  for i, point in enumerate(points):
    own = config.copy_and_resolve_references()
    configs.override(own, point, f'sweep point {i} ({name(point)})')
    own = configs.check(own)
    if (other := taken.setdefault(name(point), i)) != i:
      what = 'are the same' if points[other] == point else f'would share a folder: {points[other]} and {point}'
      raise UserError(f'sweep: points {other} and {i} ({name(point)}) {what}; expected every point once.')
    built.append((point, own))
  if not built:
    raise UserError('sweep: there is no point to run.')
  with lock.held(workdir):
    return _run_all(built, workdir)


def _run_all(built: list[tuple[Overrides, ConfigDict]], workdir: str) -> tuple[list[dict], str]:
  names = [name(point) for point, _ in built]
  collection.remember(workdir, names, list(dict.fromkeys(f for point, _ in built for f in point)))
  results, failed = [], []
  for i, (point, own) in enumerate(built):
    log.info('%d of %d: %s', i + 1, len(built), name(point))
    try:
      results.append(run.run(own, Path(workdir) / name(point)))
    except Diverged as error:
      log.error('%s', error)
      failed.append((point, error))
  if not results:
    raise failed[0][1]
  text = str(collection.write(workdir))
  if failed:
    listed = ', '.join(name(point) for point, _ in failed)
    raise UserError(
      f'sweep: {len(failed)} of {len(built)} points diverged ({listed}); {Path(workdir) / "table.md"} has the others. '
      f'The first: {failed[0][1]}'
    )
  return results, text


def kfold(config: ConfigDict, k: int, workdir: str) -> tuple[list[dict], str]:
  """Runs k-fold cross-validation over the training rows; each fold validates where it was held out.

  The folds are stratified by given label and keep duplicates together. A held row is scored with the labels that
  `data.val_labels` names, where it has one, so the mean over folds is a mean over those.

  Returns:
    The results, and a table of validation accuracies with their mean and standard deviation (also in table.md,
    table.csv and table.tex).
  """
  config = config.copy_and_resolve_references()
  config.data.val = '@'  # each fold's own, below
  config = configs.check(config)
  whole = config.copy_and_resolve_references()
  whole.data.val = ''
  data, truth, _, source = prepare.load(config)
  parts = split.split(data, truth, whole.data, source)
  labels = data.given if config.data.val_labels == 'given' else data.verified
  folds = split.folds(parts.train, labels, data.ids, k, config.data.seed)
  results = []
  with lock.held(workdir):
    for i, (kept, held) in enumerate(folds):
      held = held[labels[held] >= 0]  # what has no such label cannot be scored, and nobody trains on it here
      folder = Path(workdir) / f'fold={i}'
      try:
        folder.mkdir(parents=True, exist_ok=True)
      except OSError as error:
        raise UserError(f'{folder}: cannot use this workdir: {error.strerror or error}.') from error
      rows = folder / 'held.txt'
      text = '\n'.join(map(str, held)) + '\n'
      if rows.exists() and rows.read_text() != text:
        raise UserError(f'{folder}: holds a fold of another division of the data; choose another workdir.')
      writer.write_text(rows, text)
      writer.write_text(folder / 'kept.txt', '\n'.join(map(str, kept)) + '\n')
      own = config.copy_and_resolve_references()
      own.data.train, own.data.val = f'@{folder / "kept.txt"}', f'@{rows}'
      log.info('fold %d of %d: %d rows held out', i + 1, k, len(held))
      results.append(run.run(own, folder))
    return results, str(_fold_table(results, workdir, _watched(config)))


def _watched(config: ConfigDict) -> bool:
  """Returns whether training stops or is scheduled by validation."""
  return any(c.stop.patience or c.schedule.name == 'plateau' for _, _, c in configs.phases(config))


def rebuild(workdir: str | Path) -> Table:
  """Writes the tables and pictures of a folder of finished runs anew: a sweep's, or the folds of a cross-validation."""
  paths = collection.finished(workdir)
  if not paths or not all(re.fullmatch(r'fold=\d+', path.name) for path in paths):
    return collection.write(workdir)
  config = configs.restored(writer.read_json(paths[0] / 'config.json'))
  return _fold_table([writer.read_json(path / 'result.json') for path in paths], workdir, _watched(config))


def _fold_table(results: list[dict], workdir: str | Path, watched: bool) -> Table:
  found = [r['validation'] for r in results]
  end = 'last (stopped or scheduled by these same rows: optimistic)' if watched else 'last'
  names = (f'rows held out ({found[0]["labels"]} labels)', end, 'best epoch by these same rows (optimistic)')
  rows = [(str(i), words.text(v['rows']), *(_accuracy([v], name) for name in ('last', 'best')))
          for i, v in enumerate(found)]  # fmt: skip
  rows.append((f'mean ± std ({len(found)})', words.text(sum(v['rows'] for v in found)),
               *(_accuracy(found, name) for name in ('last', 'best'))))  # fmt: skip
  table = Table(('fold', *names), rows, ['[ ]: 95 % interval (Wilson) of an accuracy that is counted on so many rows.'])
  collection.write_table(workdir, table)
  return table


def _accuracy(folds: list[dict], name: str) -> Spread:
  """Mean over folds, and the interval of a share of all their rows."""
  mean, std = words.mean_std([v[name] for v in folds])
  low, high = words.wilson(mean, sum(v['rows'] for v in folds))
  return Spread(100 * mean, None if std is None else 100 * std, len(folds), (100 * low, 100 * high))
