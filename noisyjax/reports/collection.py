"""A folder of runs, such as that of a sweep: one table and the pictures of all finished runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noisyjax.config.flat import flat
from noisyjax.reports import formatting, report
from noisyjax.reports.pictures import axes, comparison
from noisyjax.reports.record import Record, nested, read_all
from noisyjax.reports.tables import Table
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError


def remember(folder: str | Path, names: Sequence[str], fields: Sequence[str]) -> None:
  """Writes sweep.json: the order of the runs and the swept fields, appended to those of earlier calls.

  Args:
    folder: folder of the runs, created if it does not exist.
    names: names of the runs' folders, in order.
    fields: dotted names of the swept fields.
  """
  storage.make_folder(folder)
  old = _remembered(Path(folder))
  merged = {key: list(dict.fromkeys([*old[key], *new])) for key, new in (('runs', names), ('fields', fields))}
  formats.write_json(formats.SWEEP, Path(folder) / 'sweep.json', merged)


def _remembered(folder: Path) -> dict[str, list[str]]:
  """Returns the content of sweep.json, or empty lists if the file does not exist."""
  if not (folder / 'sweep.json').exists():
    return {'runs': [], 'fields': []}
  found = formats.read_json(formats.SWEEP, folder / 'sweep.json')
  return {key: list(map(str, found.get(key, ()))) for key in ('runs', 'fields')}


def finished(folder: str | Path) -> list[Path]:
  """Returns the finished runs in a folder: those of the sweep in its order, then others by name ("2" before "10")."""
  folder = Path(folder)
  found = {path.parent.name: path.parent for path in folder.glob('*/result.json')}
  known = [name for name in _remembered(folder)['runs'] if name in found]
  return [found[name] for name in (*known, *sorted(found.keys() - set(known), key=formatting.by_number))]


def short(field: str) -> str:
  """Returns the short name of a field for tables and folders: "optim.lr" → "lr", "strategy.name" → "strategy"."""
  parts = field.split('.')
  return parts[-2] if parts[-1] == 'name' and len(parts) > 1 else parts[-1]


def write_table(folder: str | Path, table: Table, suffix: str = '') -> None:
  """Writes table.md, table.csv and table.tex; with a suffix, which their names get, the latter two alone."""
  for kind, text in (('csv', table.csv()), ('tex', table.latex()), *([] if suffix else [('md', str(table))])):
    storage.write_text(Path(folder) / f'table{suffix}.{kind}', text)


def write(folder: str | Path) -> str:
  """Writes the tables and pictures of all finished runs in a folder, and returns the text of table.md.

  Pretrained runs beside others have tables and pictures of their own, whose names end in `PRETRAINED`; table.md holds
  both tables.

  Runs that differ only in their seed share a row. For all other differences, the table has a column: for each swept
  field, for each other field in which runs differ, and for the data, if they changed between two runs of one config.

  Raises:
    UserError: the folder has no finished run, or a run is damaged.
  """
  folder = Path(folder)
  paths = finished(folder)
  if not paths:
    raise UserError(
      f'{folder}: is not a finished run and contains none; expected a result.json there or one level below.'
    )
  records = read_all(paths)
  parts = report.by_start([record.result for record in records])
  tables = {
    title: _write_part(folder, [records[i] for i in part], PRETRAINED if title == report.STARTS[1] else '')
    for title, part in parts.items()
  }
  if len(parts) == 1:
    for name in files(PRETRAINED):
      storage.remove(folder / name)
  storage.write_text(folder / 'table.md', report.texts(tables))
  return report.texts(tables)


PRETRAINED = '_pretrained'  # ends the names of the files of pretrained runs beside others


def files(suffix: str = '') -> list[str]:
  """Returns the names of the files that `write` makes of one kind of runs, besides table.md."""
  return [f'table{suffix}.csv', f'table{suffix}.tex', f'comparison{suffix}.png', f'axes{suffix}.png']


def _write_part(folder: Path, records: list[Record], suffix: str) -> Table:
  """Writes the tables and pictures of these runs under names with a suffix, and returns the table."""
  runs = [(record.result, flat(record.config)) for record in records]
  fields = _fields(runs, _remembered(folder)['fields'])
  columns = _columns(fields, runs[0][0])
  rows = [result | {column: s.get(field, '') for field, column in columns.items()} for result, s in runs]
  by = [*columns.values()] or ['strategy', 'model']
  rows, seen = report.with_data(rows, runs)
  by += seen
  order = _sorted(rows, by)
  rows, records = [rows[i] for i in order], [records[i] for i in order]
  table = report.table(rows, by, fields)
  write_table(folder, table, suffix)
  labels, settings = [_label(row, by) for row in rows], [{c: row[c] for c in by} for row in rows]
  groups = {label: [r for r, own in zip(records, labels) if own == label] for label in labels}
  numbers = [c for c in columns.values() if _numeric([own[c] for own in settings])]
  swept = [(settings[labels.index(label)], [record.result for record in groups[label]]) for label in groups]
  drawn = any(all(nested(row, field) for row in rows) for field in ('audit.test_rows', 'validation.rows'))
  _write(folder / f'comparison{suffix}.png', comparison.draw(groups) if drawn else None)
  _write(folder / f'axes{suffix}.png', axes.draw(swept, numbers) if drawn and numbers else None)
  return table


def _write(path: Path, png: bytes | None) -> None:
  """Writes a picture; None removes the picture of an earlier call."""
  if png is None:
    storage.remove(path)
  else:
    storage.write_bytes(path, png)


def _sorted(rows: Sequence[dict], columns: Sequence[str]) -> list[int]:
  """Returns the order of rows: by value in columns of numbers, by first appearance in others."""
  ranks = []
  for column in columns:
    values = [row[column] for row in rows]
    first = list(dict.fromkeys(map(str, values)))
    ranks.append(values if _numeric(values) else [first.index(str(value)) for value in values])
  return sorted(range(len(rows)), key=lambda i: [rank[i] for rank in ranks])


def _numeric(values: Sequence[Any]) -> bool:
  """Returns whether all values are numbers and at least two of them differ."""
  return len({*map(str, values)}) > 1 and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _fields(runs: Sequence[tuple[dict, dict]], swept: Sequence[str]) -> list[str]:
  """Returns the fields that separate rows: swept fields, and all others in which runs differ."""
  settings = [s for _, s in runs]
  differ = lambda field: len({json.dumps(s.get(field)) for s in settings}) > 1
  named = [f for f in ('strategy.name', 'model.name') if f not in swept and differ(f)]
  known = [f for f in swept if f != 'seed' and any(f in s for s in settings)]
  return [*named, *known, *(f for f in report.differing(runs) if f not in (*named, *known))]


def _columns(fields: Sequence[str], result: dict[str, Any]) -> dict[str, str]:
  """Returns field → column name: the short name, or the full name if the short one is ambiguous or a result's field."""
  shorts = [short(f) for f in fields]
  clash = lambda s: shorts.count(s) > 1 or (s in result and s not in ('strategy', 'model', 'epochs'))
  return {f: f.replace('.', '/') if clash(s) else s for f, s in zip(fields, shorts)}


def _label(row: dict[str, Any], by: Sequence[str]) -> str:
  """Returns the name of a row in pictures."""
  if by == ['strategy', 'model']:
    return str(row['strategy'])
  return ', '.join(formatting.text(row[c]) if c == 'strategy' else f'{c}={formatting.text(row[c])}' for c in by)
