"""Reports of finished runs: curves, confusion matrix and a self-contained page of one run; a table of several runs.

All content is read from the files of the runs. Whatever depends on true or test labels comes from the audit files, is
drawn dotted or in the audit colors, and is labeled "audit". Numbers that are selected by the test labels are labeled
"oracle".
"""

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from noisyjax.config.flat import flat
from noisyjax.reports import formatting, pages
from noisyjax.reports.pictures import calibration, curves, matrix
from noisyjax.reports.record import nested, read, read_all
from noisyjax.reports.tables import Cell, Spread, Table, spread
from noisyjax.system import storage, version


def write_report(workdir: str | os.PathLike) -> Path:
  """Writes curves.png, confusion.png, calibration.png and report.html, a page without external resources.

  Returns:
    Path of the page.
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
  """Returns the table of finished runs, or one for each part of `by_start`.

  Runs that differ only in their seed share a row.
  """
  records = read_all(dict.fromkeys(Path(w).resolve() for w in workdirs))
  runs = [(record.result, flat(record.config)) for record in records]
  return texts({title: _compared([runs[i] for i in part]) for title, part in by_start([r for r, _ in runs]).items()})


def _compared(runs: Sequence[tuple[dict, dict]]) -> Table:
  """Returns the table of runs, each as its result and its flat config."""
  # A dotted name would be looked up in the result.
  own = {f: f.replace('.', '/') if '.' in f else f'config/{f}' for f in differing(runs)}
  rows = [result | {column: settings.get(field) for field, column in own.items()} for result, settings in runs]
  rows, seen = with_data(rows, runs)
  return table(rows, ('strategy', 'model', *own.values(), *seen), own)


STARTS = ('From scratch', 'Pretrained')  # titles of the tables of a mixed comparison


def by_start(results: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
  """Divides results into those from scratch and those from pretrained weights or features, which share no ranking.

  Returns:
    A title of STARTS → indices of the results; {'': all} if all results are of one kind.
  """
  title = lambda result: STARTS[any(str(k).startswith('pretrained: ') for k in result.get('knowledge') or ())]
  found = {t: [i for i, result in enumerate(results) if title(result) == t] for t in STARTS}
  return found if all(found.values()) else {'': list(range(len(results)))}


def texts(tables: Mapping[str, Table]) -> str:
  """Returns the text of tables under their titles; '' is no title."""
  return '\n'.join((f'### {title}\n\n' if title else '') + str(made) for title, made in tables.items())


def differing(runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
  """Returns the fields in which runs of one strategy and model differ, and over which no mean may be taken.

  The seed, fields that follow it (a recipe may set the seed of the noise to that of the run) and the folds of a
  cross-validation are not included.

  Args:
    runs: result and flat config of each run.
  """
  alike: dict[tuple, list[Mapping]] = {}
  for result, settings in runs:
    alike.setdefault((result['strategy'], result['model']), []).append(settings)
  out = {}
  for members in alike.values():
    for field in sorted(set().union(*members)):
      known = [m for m in members if field in m]  # a field that an older run lacks did not differ
      values = {json.dumps(m[field]) for m in known}
      fold = all(value.startswith('"@') for value in values)
      tied = all(m[field] == m.get('seed') for m in known)
      if field != 'seed' and len(values) > 1 and not fold and not tied:
        out[field] = None
  return list(out)


def with_data(rows: list[dict], runs: Sequence[tuple[Mapping, Mapping]]) -> tuple[list[dict], list[str]]:
  """Separates runs of different data, which may have changed between two runs of one config.

  Runs with the same config of data and noise should have the same rows and test rows. Runs that differ only in the
  seed or the parts of the data should have the same source.

  Args:
    rows: rows of a table.
    runs: result and flat config of each run.

  Returns:
    The rows, with a column "data seen" if the data differ; and the name of that column, if any.
  """
  drawn = ('data.seed', 'data.train', 'data.val', 'data.test', 'data.trusted')
  telling = []
  for field, key in (
    ('data.fingerprint', _data_of),
    ('audit.fingerprint', _data_of),
    ('audit.source', functools.partial(_data_of, without=drawn, groups=('data.',))),
  ):
    seen: dict[str, set] = {}
    for result, settings in runs:
      if (mark := nested(result, field)) is not None:  # before format 1, results had only data.fingerprint
        seen.setdefault(key(settings), set()).add(mark)
    telling += [field] * any(len(marks) > 1 for marks in seen.values())
  if not telling:
    return rows, []
  name = lambda result: ' / '.join(str(nested(result, field))[:8] for field in telling)
  return [row | {'data seen': name(result)} for row, (result, _) in zip(rows, runs)], ['data seen']


# (field of the result, name, causes): a comparison of runs that differ in the field is unfair, unless a cause, which is
# a field of the config, was swept.
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
  ('replicas', 'runs at once, which share their seconds', ()),
)


def table(results: Sequence[Mapping[str, Any]], by: Sequence[str], swept: Iterable[str] = ()) -> Table:
  """Returns a table of results, with the mean over the seeds of each group, in the order of first appearance.

  The table has mean ± sample standard deviation (n) of each test accuracy in percent; for runs without test rows, of
  the validation accuracy, with its 95 % interval (Wilson); the seconds; and what the method was told. A note below it
  names every other respect in which the runs differ, because such a comparison is not fair.

  Args:
    results: content of result.json of each run.
    by: fields that separate groups, dotted if nested, such as ('strategy', 'noise.requested').
    swept: fields of the config that differ on purpose; there are no notes on their consequences.
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
    notes.append('[ ]: 95 % confidence interval (Wilson) for this number of validation rows.')
  elif len(untested) == len(results):
    notes.append('There are no test or validation rows, and therefore no accuracies.')
  columns += [('seconds', functools.partial(_spread, field='seconds', scale=1, digits=1)), ('told', told)]
  rows = [(*key, *(cell(members) for _, cell in columns)) for key, members in groups]
  if len(results) > len(groups):
    notes.insert(0, 'mean ± sample standard deviation (number of runs).')
  return Table((*by, *(name for name, _ in columns)), rows, [*notes, *_notes(groups, by, tuple(swept))])


def _data_of(
  settings: Mapping[str, Any], without: tuple[str, ...] = (), groups: tuple[str, ...] = ('data.', 'noise.')
) -> str:
  """Returns the fields of a flat config in these groups, except those in `without`, as text."""
  return json.dumps({k: v for k, v in settings.items() if k.startswith(groups) and k not in without}, sort_keys=True)


def _marked(groups: list[tuple[tuple, list]]) -> tuple[list[tuple[tuple, list]], list[str]]:
  """Marks the rows of runs by other code than the current one, and returns a note with its versions."""
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
  """Returns notes on repeated seeds, votes of several networks, and differences that make a comparison unfair."""
  notes = []
  for key, members in groups:
    seeds = [r.get('seed') for r in members]
    if len(set(seeds)) < len(seeds):
      notes.append(f'{", ".join(key)}: several runs with the same seed are averaged.')
    if nested(members[0], 'audit.one_network'):
      last = _spread(members, 'audit.one_network.last')
      alone = last.text() if last else 'not known'
      notes.append(
        f'{", ".join(key)}: the vote of {members[0]["networks"]} networks; the first network alone, last: {alone}.'
      )
  for field, name, causes in NOT_EQUAL:
    each = [
      list(dict.fromkeys(formatting.text(formatting.rounded(nested(r, field))) for r in members))
      for _, members in groups
    ]
    values = list(dict.fromkeys(value for group in each for value in group))
    by_seed = field == 'data.fingerprint' and all(
      set(group) == set(each[0]) for group in each
    )  # the noise is drawn for each seed
    meant = any(f == cause or f.startswith(f'{cause}.') for f in swept for cause in causes)
    if len(values) > 1 and field not in by and not by_seed and not meant:
      short = [value[:24] for value in values] if len({value[:24] for value in values}) == len(values) else values
      shown = short if len(values) <= 4 else [*short[:3], f'… ({len(values)} values)']
      notes.append(f'Not equal: {name}: {", ".join(shown)}.')
  return notes


def _spread(members: Sequence[Mapping], field: str, **form: Any) -> Spread | None:
  """Returns mean and standard deviation of a field of the results; None if no run has it. Arguments: see `spread`."""
  return spread((nested(r, field) for r in members), **form)


def _validated(members: Sequence[Mapping], field: str) -> Spread | None:
  """Returns a validation accuracy with its interval: that of the mean over seeds, for the rows of one run."""
  rows = [n for r in members if (n := nested(r, 'validation.rows'))]
  return _spread(members, f'validation.{field}', rows=min(rows, default=0))


def _validated_on(members: Sequence[Mapping]) -> str:
  """Returns the number of validation rows and the kind of their labels."""
  found = [r['validation'] for r in members if nested(r, 'validation.rows')]
  return '; '.join(dict.fromkeys(f'{formatting.text(v["rows"])} rows, {v["labels"]} labels' for v in found))


def told(results: Iterable[Mapping[str, Any]]) -> str:
  """Returns what the method was told in addition to the given labels."""
  return '; '.join(dict.fromkeys(str(k) for r in results for k in r.get('knowledge') or ())) or 'nothing'
