"""Compares the config and data of the results in a folder with those of the current call."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import difference, resolved
from noisyjax.data.prepare import Audit, Prepared
from noisyjax.system import formats, parquet
from noisyjax.system.errors import UserError, listed

Columns = Mapping[str, np.ndarray]


class Stale(UserError):
  """The folder holds results of another config, other data or other code, so they are neither used nor continued."""


def stale(folder: Path, why: str, lines: Iterable[str] = (), rerun: bool = True) -> Stale:
  """Returns an error that lists what differs and what to do.

  Args:
    folder: folder of the results.
    why: what is wrong with the folder.
    lines: differences, each as "in the folder → in this call".
    rerun: whether the command has the flag --rerun.
  """
  listed = ''.join(f'\n  {line}' for line in lines)
  out = 'Fix that, choose another workdir, or replace the results with --rerun.'
  out = out if rerun else 'Fix that, or choose another workdir.'
  return Stale(f'{folder}: {why}. {out}' + (f' What differs (there → here):{listed}' if listed else ''))


def plain(plan: Plan) -> dict[str, Any]:
  """Returns the resolved config as config.json stores it."""
  return json.loads(json.dumps(resolved(plan)))


def check_config(folder: Path, wanted: Mapping[str, Any], file: str = 'config.json') -> None:
  """Checks that the run in a folder has the same config.

  Args:
    folder: folder of the run.
    wanted: config of this call, as `plain` returns it.
    file: name of the file that holds the config.

  Raises:
    Stale: the file is missing or fields differ; the message names them.
  """
  if not (folder / file).exists():
    raise stale(folder, f'holds a run, but no {file} that says with which config')
  if lines := difference(formats.read_json(formats.RUN, folder / file), wanted):
    raise stale(folder, 'holds a run of another config', lines)


def check_data(folder: Path, prepared: Prepared, audit: Audit) -> None:
  """Checks that the run in a folder, finished or not, has the same data. Of a finished run, audit data are checked too.

  Args:
    folder: folder of the run.
    prepared: data of this call.
    audit: data that score the run of this call.

  Raises:
    Stale: data differ; the message names the parts that differ and, for a finished run, the number of rows.
  """
  lines, why = [], 'the data here are not those the run began with, though the config is the same'
  if (folder / 'result.json').exists():
    result = formats.read_json(formats.RUN, folder / 'result.json')
    if result['data']['fingerprint'] != prepared.record['fingerprint']:
      lines += _trained_on(folder, result['data'], prepared)
    if result['audit'].get('fingerprint', audit.fingerprint) != audit.fingerprint:  # runs before format 1 have none
      lines += _scored_on(folder, result['data'], prepared, audit)
  elif (folder / 'environment.json').exists():
    there, here = formats.read_json(formats.RUN, folder / 'environment.json').get('data'), parts(prepared)
    lines += [f'the {name} differ' for name in here if there and there.get(name) != here[name]]
  if lines:
    raise stale(folder, why, lines)


def parts(prepared: Prepared) -> dict[str, str]:
  """Returns a digest of each part of the training and validation data: name of the part → digest."""
  data, rows = prepared.data, np.concatenate([prepared.rows, prepared.val_rows])
  digest = lambda *values: hashlib.sha256(repr(values).encode()).hexdigest()[:16]
  images = _of_texts(data.ids, rows)
  return {
    'images': digest(images, data.pixels) if data.pixels else images,
    'given labels': digest(data.given[rows].tolist()),
    'verified labels': digest(data.verified[rows].tolist()),
    'classes': digest(data.classes),
    'splits': _of_texts(data.ids, prepared.rows, prepared.val_rows),
  }


def _of_texts(texts: np.ndarray, *parts: np.ndarray) -> str:
  """Returns a digest of the texts of some rows: of the `repr` of a tuple of lists, which would take much memory.

  Args:
    texts: text [N].
    *parts: row numbers, int [n] each; a list for each of them.
  """
  found = hashlib.sha256(b'(')
  for number, rows in enumerate(parts):
    found.update(b', [' if number else b'[')
    for start in range(0, len(rows), 2**16):
      text = repr(texts[rows[start : start + 2**16]].tolist())[1:-1]
      found.update((', ' * bool(start) + text).encode())
    found.update(b']')
  found.update(b',)' if len(parts) == 1 else b')')
  return found.hexdigest()[:16]


def _trained_on(folder: Path, there: Mapping[str, Any], prepared: Prepared) -> list[str]:
  """Returns lines on how the training and validation rows differ from those in samples.parquet."""
  data, rows = prepared.data, np.concatenate([prepared.rows, prepared.val_rows])
  split = np.repeat(['train', 'val'], [len(prepared.rows), len(prepared.val_rows)])
  here = {
    'row': rows,
    'id': data.ids[rows],
    'name': data.names[rows],
    'split': split,
    'given': data.given[rows],
    'verified': data.verified[rows],
  }
  lines = class_difference(there['classes'], data.classes)
  if (old := table(folder / 'samples.parquet')) is not None:
    old, here = (
      _named(table, names, 'given', 'verified') for table, names in ((old, there['classes']), (here, data.classes))
    )
    titles = {'id': 'images', 'given': 'given labels', 'verified': 'verified labels', 'split': 'splits'}
    lines += row_difference(old, here, titles)
  return lines or ['images, labels, or the order of the rows differ']


def _scored_on(folder: Path, there: Mapping[str, Any], prepared: Prepared, audit: Audit) -> list[str]:
  """Returns lines on how the test rows and the true labels differ from those in audit.parquet."""
  data, rows = prepared.data, np.concatenate([prepared.rows, audit.test_rows])
  split = np.repeat(['train', 'test'], [len(prepared.rows), len(audit.test_rows)])
  true = np.concatenate([audit.truth[prepared.rows], audit.test[1] if audit.test else np.zeros(0, np.int32)])
  here = {'row': rows, 'id': data.ids[rows], 'name': data.names[rows], 'split': split, 'true': true}
  old = table(folder / 'audit.parquet') or {k: v[:0] for k, v in here.items()}
  lines = []
  for part, titles in (
    ('test', {'id': 'test images', 'true': 'labels of the test rows'}),
    ('train', {'true': 'true labels of the training rows'}),
  ):
    pick = lambda table, names, part=part: _named(
      {k: v[(table['split'] == part) & (table['true'] >= 0)] for k, v in table.items()}, names, 'true'
    )
    lines += row_difference(
      pick(old, there['classes']), pick(here, data.classes), titles, f'{part} rows of known truth'
    )
  return lines or ['test rows, or the true labels, differ']


def table(path: Path) -> Columns | None:
  """Returns what `row_difference` compares of a table; None if it cannot be read: messages then lack the counts."""
  try:
    return parquet.read(path, ('row', 'id', 'name', 'split', 'given', 'verified', 'true'))[0]
  except UserError:
    return None


def _named(table: Columns, classes: Sequence[str], *columns: str) -> Columns:
  """Returns the table with class names instead of class numbers, which may differ between data sets."""
  names = np.array([*map(str, classes), 'none'])  # index -1, unlabeled, is the last
  return {**table, **{column: names[table[column]] for column in columns}}


def class_difference(there: Sequence[str], here: Sequence[str]) -> list[str]:
  """Returns a line on two lists of class names; [] if they are equal."""
  quoted = lambda names: listed(map(repr, names))
  return [] if list(there) == list(here) else [f'classes: {quoted(there)} → {quoted(here)}']


def row_difference(there: Columns, here: Columns, titles: Mapping[str, str], rows: str = 'rows') -> list[str]:
  """Returns lines on the differences between two tables of rows; [] if there are none.

  Rows are matched by name if the names are unique in both tables, otherwise by row number.

  Args:
    there: table in the folder.
    here: table of this call.
    titles: column to compare → its title in messages.
    rows: what the rows are called in messages.

  Returns:
    One line if rows were removed or added, and one line for each column in which matched rows differ.
  """
  named = all(len(np.unique(table['name'])) == len(table['name']) for table in (there, here))
  key = 'name' if named else 'row'
  place = {name: i for i, name in enumerate(there[key].tolist())}
  pairs = [(place[name], j) for j, name in enumerate(here[key].tolist()) if name in place]
  old, new = np.array(pairs, np.int64).reshape(-1, 2).T
  gone, come, lines = len(there[key]) - len(old), len(here[key]) - len(new), []
  if gone or come:
    lines.append(f'{rows}: {gone:,} of {len(there[key]):,} are gone, {come:,} are new')
  for column, title in titles.items():
    a, b = (np.array(list(map(str, t[column][pick].tolist()))) for t, pick in ((there, old), (here, new)))
    if column == 'id':  # without the number of a copy, which changes if an earlier copy is removed
      a, b = a.astype('U64'), b.astype('U64')
    if len(changed := np.flatnonzero(a != b)):
      first = changed[0]
      values = '' if column == 'id' else f' {a[first]} → {b[first]}'
      lines.append(
        f'{title}: {len(changed):,} of {len(old):,} rows differ, first {str(here["name"][new[first]])!r}{values}'
      )
  return lines
