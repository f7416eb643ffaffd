"""What a finished workdir shows: curves, confusion matrix, a self-contained page; and several workdirs side by side.

Everything is read back from the run's files. Whatever needs true or test labels comes from the audit files, is drawn
dashed or in the audit color and is called "audit" where it stands; a number chosen on the test labels says "oracle".
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.config.flat import flat
from noisyjax.reports import formatting, pages
from noisyjax.reports.pictures import calibration, curves, matrix
from noisyjax.reports.record import nested, read
from noisyjax.reports.tables import Cell, Spread, Table
from noisyjax.system import storage, version


def write_report(workdir: str | os.PathLike) -> Path:
  """Writes curves.png, confusion.png, calibration.png and report.html (one file, no external resources).

  Returns:
    The page's path.
  """
  record, folder = read(workdir), Path(workdir)
  drawn = {
    'curves': curves.draw(record),
    'confusion': matrix.confusion(record),
    'calibration': calibration.draw(record),
  }
  for name, png in drawn.items():
    if png is not None:
      storage.write_bytes(folder / f'{name}.png', png)
  storage.write_text(folder / 'report.html', pages.page(record, **drawn))
  return folder / 'report.html'


def compare(workdirs: Sequence[str | os.PathLike]) -> str:
  """Returns `table` of finished runs, in which only runs that differ in nothing but the seed share a row."""
  records = [read(folder) for folder in dict.fromkeys(Path(w).resolve() for w in workdirs)]
  runs = [(record.result, flat(record.config)) for record in records]
  # A dot would look into the result.
  own = {f: f.replace('.', '/') if '.' in f else f'config/{f}' for f in differing(runs)}
  rows = [result | {column: settings.get(field) for field, column in own.items()} for result, settings in runs]
  rows, seen = with_data(rows, runs)
  return str(table(rows, ('strategy', 'model', *own.values(), *seen), own))


def differing(runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
  """Returns the fields in which runs of one strategy and model differ: those that must not be averaged over.

  The seed is none of them, nor what follows it (a recipe may tie the noise's seed to the run's), nor the folds of one
  cross-validation.

  Args:
    runs: result and flat config of each.
  """
  alike: dict[tuple, list[Mapping]] = {}
  for result, settings in runs:
    alike.setdefault((result['strategy'], result['model']), []).append(settings)
  out = {}
  for members in alike.values():
    for field in sorted(set().union(*members)):
      known = [m for m in members if field in m]  # one that an older run lacks is as it was
      values = {json.dumps(m[field]) for m in known}
      fold = all(value.startswith('"@') for value in values)
      tied = all(m[field] == m.get('seed') for m in known)
      if field != 'seed' and len(values) > 1 and not fold and not tied:
        out[field] = None
  return list(out)


def with_data(rows: list[dict], runs: Sequence[tuple[Mapping, Mapping]]) -> tuple[list[dict], list[str]]:
  """Tells runs of other data apart, which may have been changed between two runs of one config: never averaged.

  Runs of one config of data and noise saw the same rows and are scored on the same ones; those that only draw their
  noise or splits anew, from the same source.

  Args:
    rows: of a table to be. runs: result and flat config of each.
  Returns:
    The rows, with the column "data seen" where it is needed, and the name of that column, or none.
  """
  drawn = ('data.seed', 'data.train', 'data.val', 'data.test', 'data.trusted')
  telling = []
  for field, key in (
    ('data.fingerprint', _data_of),
    ('audit.fingerprint', _data_of),
    ('audit.source', functools.partial(_data_of, but=drawn, groups=('data.',))),
  ):
    seen: dict[str, set] = {}
    for result, settings in runs:
      if (mark := nested(result, field)) is not None:  # before format 1 only the first is there
        seen.setdefault(key(settings), set()).add(mark)
    telling += [field] * any(len(marks) > 1 for marks in seen.values())
  if not telling:
    return rows, []
  name = lambda result: ' / '.join(str(nested(result, field))[:8] for field in telling)
  return [row | {'data seen': name(result)} for row, (result, _) in zip(rows, runs)], ['data seen']


# What makes a comparison unfair where runs differ in it, and the fields whose sweep it would be a consequence of.
NOT_EQUAL = (
  ('data.fingerprint', 'data', ('data', 'noise')),
  ('noise.kind', 'noise', ('noise',)),
  ('noise.requested', 'requested noise rate', ('noise',)),
  ('audit.test_labels', 'labels of the test rows', ('data.test_labels',)),
  ('audit.test_rows', 'test rows', ('data',)),
  ('validation.labels', 'labels of the validation rows', ('data.val_labels',)),
  ('validation.rows', 'validation rows', ('data',)),
  ('model', 'model', ('model.name', 'phases')),
  ('epochs', 'epochs', ('epochs', 'phases', 'stop')),
  ('passes', 'passes (budget)', ('epochs', 'phases', 'stop', 'batch_size', 'steps_per_epoch', 'data', 'rows')),
  ('device', 'device', ()),
)


def table(results: Sequence[Mapping[str, Any]], by: Sequence[str], swept: Iterable[str] = ()) -> Table:
  """A table of results grouped over their seeds, in the order of first appearance.

  Args:
    results: the content of each run's result.json.
    by: fields that tell groups apart, dotted where nested: ('strategy', 'noise.requested').
    swept: the fields of the config that differ on purpose; what follows from them is no surprise.

  Returns:
    Mean ± sample standard deviation (n) of each test accuracy in percent; where a run has no test rows, of its
    validation accuracy, with Wilson's 95 % interval of a share of that many rows; seconds, and what the method was
    told. Below, one line for each other thing in which the runs compared differ, since no such comparison is fair.
  """
  by_key: dict[tuple, list] = {}
  for result in results:
    by_key.setdefault(tuple(json.dumps(nested(result, key)) for key in by), []).append(result)
  groups = [(tuple(formatting.text(nested(members[0], key)) for key in by), members) for members in by_key.values()]
  groups, notes = _marked(groups)
  columns: list[tuple[str, Callable[[Sequence[Mapping]], Cell]]] = []
  untested = [r for r in results if nested(r, 'audit.last') is None]
  if len(untested) < len(results):
    columns += [(name, functools.partial(_spread, field=f'audit.{field}', mark=mark)) for name, field, mark in TEST]
  if any(nested(r, 'validation.rows') for r in untested):
    columns += [(name, functools.partial(_validated, field=field)) for name, field in VALIDATION]
    columns.append(('validated on', _validated_on))
    notes.append('[ ]: 95 % interval (Wilson) of an accuracy that is counted on so many validation rows.')
  elif len(untested) == len(results):
    notes.append('No test rows and no validation rows: there is no accuracy to show.')
  columns += [('seconds', functools.partial(_spread, field='seconds', scale=1, digits=1)), ('told', _told)]
  rows = [(*key, *(cell(members) for _, cell in columns)) for key, members in groups]
  if len(results) > len(groups):
    notes.insert(0, 'mean ± sample standard deviation (number of runs).')
  return Table((*by, *(name for name, _ in columns)), rows, [*notes, *_notes(groups, by, tuple(swept))])


def _data_of(
  settings: Mapping[str, Any], but: tuple[str, ...] = (), groups: tuple[str, ...] = ('data.', 'noise.')
) -> str:
  """Returns the fields of a flat config in these groups as text."""
  return json.dumps({k: v for k, v in settings.items() if k.startswith(groups) and k not in but}, sort_keys=True)


def _marked(groups: list[tuple[tuple, list]]) -> tuple[list[tuple[tuple, list]], list[str]]:
  """Marks the rows of runs that were made by other code than today's, and says by which."""
  codes = dict.fromkeys(r['code'] for _, members in groups for r in members if r.get('code'))
  others = [code for code in codes if code != version.code_today()]
  if not others:
    return groups, []
  marked = [
    ((f'{key[0]} †', *key[1:]) if any(r.get('code') in others for r in members) else key, members)
    for key, members in groups
  ]
  return marked, [f'† by other code than {version.code_today()}: {"; ".join(others)}.']


TEST = (
  ('last', 'last', ''),
  ('mean of last 10', 'mean_last_10', ''),
  ('best by validation', 'best_by_validation', ''),
  ('best by test (oracle)', 'oracle', '(oracle)'),
)
VALIDATION = (('validation last', 'last'), ('validation best epoch (optimistic)', 'best'))


def _notes(groups: list[tuple[tuple, list]], by: Sequence[str], swept: Sequence[str]) -> list[str]:
  notes = []
  for key, members in groups:
    seeds = [r.get('seed') for r in members]
    if len(set(seeds)) < len(seeds):
      notes.append(f'{", ".join(key)}: runs of one seed are averaged.')
    if nested(members[0], 'audit.one_network'):
      last = _spread(members, 'audit.one_network.last')
      alone = last.text() if last else 'not known'
      notes.append(f'{", ".join(key)}: the vote of {members[0]["networks"]} networks; the first alone, last: {alone}.')
  for field, name, causes in NOT_EQUAL:
    each = [
      list(dict.fromkeys(formatting.text(formatting.rounded(nested(r, field))) for r in members))
      for _, members in groups
    ]
    values = list(dict.fromkeys(value for group in each for value in group))
    by_seed = field == 'data.fingerprint' and all(set(group) == set(each[0]) for group in each)  # noise drawn per seed
    meant = any(f == cause or f.startswith(f'{cause}.') for f in swept for cause in causes)
    if len(values) > 1 and field not in by and not by_seed and not meant:
      short = [value[:24] for value in values] if len({value[:24] for value in values}) == len(values) else values
      shown = short if len(values) <= 4 else [*short[:3], f'… ({len(values)} values)']
      notes.append(f'Not equal: {name}: {", ".join(shown)}.')
  return notes


def _spread(
  members: Sequence[Mapping], field: str, scale: float = 100, digits: int = 2, mark: str = ''
) -> Spread | None:
  known = [v for v in (nested(r, field) for r in members) if v is not None and np.isfinite(v)]
  found = formatting.mean_std(known)
  if found is None:
    return None
  mean, std = found
  return Spread(scale * mean, None if std is None else scale * std, len(known), None, digits, mark)


def _validated(members: Sequence[Mapping], field: str) -> Spread | None:
  """A validation accuracy and its interval: of the mean over seeds, on the rows of one run, which they share."""
  found, rows = _spread(members, f'validation.{field}'), [nested(r, 'validation.rows') for r in members]
  rows = [n for n in rows if n]
  if found is None or not rows:
    return found
  low, high = formatting.wilson(found.mean / 100, min(rows))
  return dataclasses.replace(found, interval=(100 * low, 100 * high))


def _validated_on(members: Sequence[Mapping]) -> str:
  found = [r['validation'] for r in members if nested(r, 'validation.rows')]
  return '; '.join(dict.fromkeys(f'{formatting.text(v["rows"])} rows, {v["labels"]} labels' for v in found))


def _told(results: Iterable[Mapping[str, Any]]) -> str:
  return '; '.join(dict.fromkeys(str(k) for r in results for k in r.get('knowledge') or ())) or 'nothing'
