"""Reads tables as rows of cells: CSV in all common dialects, JSON, Parquet, and lines "path label".

The content of a file determines its format; its name only helps to word messages. Pickles are refused.
"""

import contextlib
import csv
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from noisyjax.data import exports, files
from noisyjax.data.column import plain
from noisyjax.data.column_names import GIVEN, names_images, preferred
from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError, shortened

SEPARATORS = ',;\t|'
_SAMPLE = 50  # number of rows from which the separator is determined
_FOREIGN = (  # first bytes of other file types, with their names and advice
  (b'PK\x03\x04', 'a zip', 'unpack it; expected a table of labels (CSV, .npy, JSON or Parquet)'),
  (b'\xd0\xcf\x11\xe0', 'an Excel file', 'save it as CSV UTF-8 (File > Save as)'),
  (b'\x1f\x8b', 'compressed by gzip', 'unpack it: gunzip FILE'),
  (b'\x89PNG', 'an image', 'expected a table of labels'),
  (b'\xff\xd8\xff', 'an image', 'expected a table of labels'),
  (b'%PDF', 'a PDF', 'save the table as CSV'),
  (
    b'MATLAB',
    'a MATLAB file',
    "save its labels as an array: numpy.save('labels.npy', scipy.io.loadmat(FILE)['labels'])",
  ),
  (b'\x89HDF', 'an HDF5 file', "save its labels as an array: numpy.save('labels.npy', h5py.File(FILE)['labels'][:])"),
  (b'ARROW1', 'an Arrow file', 'save it as Parquet or CSV'),
  (b'version https://git-lfs', 'a pointer of Git LFS and not the file itself', 'fetch it: git lfs pull'),
  (b'<!DOCTYPE html', 'a web page', 'download the file itself'),
  (b'<html', 'a web page', 'download the file itself'),
)


class Table(NamedTuple):
  """The cells of a file; an empty cell is None.

  Attributes:
    header: names of the columns; None: unknown, the first row may be a header.
    rows: rows of equal length.
    places: place of each row for messages, such as 'row 3', counted from 1 as in an editor or spreadsheet.
    notes: notes on the rows that were left out.
  """

  header: list[str] | None
  rows: list[list[Any]]
  places: list[str]
  notes: tuple[str, ...] = ()


def read(path: Path, expected: str = 'a label for each image') -> Table:
  """Reads a table.

  Args:
    path: the file.
    expected: what an empty file lacks, for the message.

  Raises:
    UserError: the file is damaged, empty or not a table.
  """
  with reading.reading(path, 'a table', ''):
    data = path.read_bytes()
  if not data.strip():
    raise UserError(f'{path}: is empty ({len(data)} bytes); expected {expected}.')
  if data.startswith(b'PAR1'):
    return _parquet(path, data)
  refuse_foreign(path, data)
  text = decoded(path, data)
  if path.suffix.lower() in ('.json', '.jsonl', '.ndjson') or text.lstrip()[:1] in ('{', '['):
    found = _json(path, text)
    if found is not None:
      return found
  return _csv(path, text, expected)


def refuse_foreign(path: Path, data: bytes) -> None:
  """Raises UserError, with advice, for a file whose first bytes are neither those of a table nor of an array."""
  if is_pickle(data):
    raise UserError(
      f'{path}: is a pickle; expected a table (CSV, .npy, JSON or Parquet). Pickles are read as label files and by '
      'data.source=cifar only.'
    )
  if path.suffix.lower() in ('.xlsx', '.xlsm', '.ods') or _inside(data, 'xl/'):
    raise UserError(f'{path}: is an Excel file; expected a table as text. Save it as CSV UTF-8 (File > Save as).')
  for start, what, then in _FOREIGN:
    if data.startswith(start):
      raise UserError(f'{path}: is {what}; {then}.')


def is_pickle(data: bytes) -> bool:
  """Returns whether a file is a pickle of protocol 2 to 5, or a zip with a pickle in it, as PyTorch writes."""
  return re.match(rb'\x80[\x02-\x05]', data) is not None or _inside(data, '/data.pkl')


def _inside(data: bytes, part: str) -> bool:
  """Returns whether the file is a zip with `part` in the name of an entry."""
  if not data.startswith(b'PK\x03\x04'):
    return False
  with contextlib.suppress(*reading.DAMAGE), zipfile.ZipFile(io.BytesIO(data)) as archive:
    return any(part in name for name in archive.namelist())
  return False


def decoded(path: Path, data: bytes) -> str:
  """Returns the text of a file in UTF-8 or UTF-16, with or without a byte order mark.

  Raises:
    UserError: the text has another encoding or a NUL character; the message names the line.
  """
  if data.startswith((b'\xff\xfe', b'\xfe\xff')):
    encoding = 'utf-16'
  elif (odd := data[1::2].count(0)) + (even := data[::2].count(0)) > len(data) / 4:  # half of ASCII's bytes are 0
    encoding = 'utf-16-le' if odd > even else 'utf-16-be'
  else:
    encoding = 'utf-8-sig'
  try:
    text = data.decode(encoding)
  except UnicodeDecodeError as error:
    line = data.count(b'\n', 0, error.start) + 1
    raise UserError(
      f'{path}: line {line} is not text in {encoding.removesuffix("-sig").upper()}. Save the file as UTF-8 (in Excel: '
      'File > Save as > CSV UTF-8).'
    ) from error
  if '\0' in text:
    raise UserError(f'{path}: line {text[: text.index(chr(0))].count(chr(10)) + 1} holds a NUL; is the file damaged?')
  return text.removeprefix('\ufeff')


def _csv(path: Path, text: str, expected: str) -> Table:
  """Reads a CSV file, or lines "path label"."""
  named = re.match(r'sep=([,;|\t])\r?\n', text, re.IGNORECASE)  # a hint for Excel
  text, separator = (text[named.end() :], named[1]) if named else (text, _separator(text))
  text = re.sub(r'(?m)^ +(?=\r?$)', '', text)  # a line of spaces is blank, and no empty cell
  try:
    if separator == ' ':
      lines, pairs = text.splitlines(), _are_pairs(text)
      head = next((i for i, line in enumerate(lines) if line.strip()), 0)
      words = lambda i, line: line.split() if pairs or (i == head and _is_head(line)) else _path_label(line)
      parsed = [words(i, line) for i, line in enumerate(lines)]
      parsed = [row if any(row) else [] for row in parsed]
    else:
      quote = "'" if _in_single_quotes(text, separator) else '"'
      lines = io.StringIO(text, newline='')
      parsed = list(csv.reader(lines, delimiter=separator, quotechar=quote, skipinitialspace=True))
  except csv.Error as error:
    raise UserError(f'{path}: cannot be read as CSV ({error}).') from error
  rows = [
    ([plain(storage.csv_original(cell)) for cell in row], row, f'row {line}')
    for line, row in enumerate(parsed, 2 if named else 1)
  ]
  while rows and not any(rows[-1][0]):
    rows.pop()  # blank lines at the end
  kept = [(cells, place) for cells, row, place in rows if any(cells) or row == ['']]  # "" alone is an empty cell
  if not kept:
    raise UserError(f'{path}: has no rows; expected {expected}.')
  if separator != ' ' and '"' in text:
    _check_quotes(path, text, separator, 2 if named else 1)
  blank = [place for cells, row, place in rows if not (any(cells) or row == [''])]
  notes = (f'{path}: {len(blank)} blank row(s) are skipped, the first is {blank[0]}.',) if blank else ()
  width = _width([cells for cells, _ in kept])
  for cells, place in kept:
    if len(cells) < width or any(cells[width:]):
      title = width > 1 and not any(kept[0][0][1:]) and not _is_image(kept[0][0][0])
      like = 'as most rows have' if title or place == kept[0][1] else 'as in the first row'
      hint = f' If {kept[0][1]}, {kept[0][0][0][:50]!r}, is a title, delete it.' if title else ''
      wanted = f'{width} fields {like}' if width > 1 else "one label, or a header 'image,label' in row 1"
      raise UserError(f'{path}: {place}: {separator.join(cells)[:200]!r}; expected {wanted}.{hint}')
  return Table(None, [[cell or None for cell in cells[:width]] for cells, _ in kept], [p for _, p in kept], notes)


def _in_single_quotes(text: str, separator: str) -> bool:
  """Returns whether all cells are in single quotes, as in 'a.png','cat'."""
  cell = "\\s*'[^']*'\\s*"
  line = re.compile(f'{cell}(?:{re.escape(separator)}{cell})+')
  return '"' not in text and all(line.fullmatch(row) for row in text.splitlines()[:_SAMPLE] if row.strip())


def _check_quotes(path: Path, text: str, separator: str, first: int) -> None:
  """Raises UserError for a quote that is not closed: the lines up to the next one would be a single cell.

  Args:
    path: the file, for the message.
    text: its lines.
    separator: of the cells.
    first: number of the first line.
  """
  lines, start = list(io.StringIO(text, newline='')), 0
  reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
  for _ in reader:
    end = reader.line_num
    if end - start > 1 or end == len(lines):
      try:
        list(csv.reader(lines[start:end], delimiter=separator, skipinitialspace=True, strict=True))
      except csv.Error as error:
        if end - start > 1 or 'unexpected end' in str(error):
          raise UserError(
            f'{path}: line {first + start}: {lines[start].strip()[:200]!r} opens a quote (") that is not closed; '
            'expected a quote at the end of the cell, or none.'
          ) from error
    start = end


def _width(rows: list[list[str]]) -> int:
  """Returns the number of fields in the first row, or in most rows if that is 1; empty trailing fields do not count."""
  used = [max((i + 1 for i, cell in enumerate(cells) if cell), default=1) for cells in rows]
  return used[0] if used[0] > 1 else Counter(used).most_common(1)[0][0]


def _separator(text: str) -> str:
  """Returns the separator for which most rows have the same number of fields (2 or more); ' ' for two words a line."""
  lines = [line for line in text.splitlines() if line.strip()][:_SAMPLE]
  if all(_path_label(line)[1:] for line in lines[len(lines) > 1 and _is_head(lines[0]) :]):
    return ' '
  share = dict.fromkeys(SEPARATORS, 0.5)  # share of rows with the most common width, if that is at least 2
  for separator in SEPARATORS:
    with contextlib.suppress(csv.Error):
      widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if row)
      width, count = max(widths.items(), key=lambda item: item[1])
      share[separator] = count / len(lines) if width > 1 else 0.0
  return max(share, key=share.__getitem__) if any(share.values()) or not _are_pairs(text) else ' '


def _are_pairs(text: str) -> bool:
  """Returns whether all lines are two words, an image and a label: the first never repeats, or the second is a path."""
  words = [line.split() for line in text.splitlines() if line.strip()]
  if len(words) < 3 or '"' in text or any(len(row) != 2 for row in words):
    return False
  return len({row[0] for row in words}) == len(words) or all(_is_image(row[1]) for row in words)


def _is_head(line: str) -> bool:
  """Returns whether a line above lines "path label" is their header: two words, of which neither is a path."""
  return re.fullmatch(r'\s*[^\s,;|"]+\s+[^\s,;|"]+\s*', line) is not None and not _path_label(line)[1:]


def _path_label(line: str) -> list[str]:
  """Returns [path, label] for a line such as "images/0/a.jpg 3" or "a.jpg -> cat", otherwise [line]."""
  found = re.fullmatch(r'\s*([^,;|\t"]*?\.(\w{2,5})) +(?:(?:[-=]?>|→|[-=:]) +)?([^,;|\t"]+)', line)
  return [found[1], found[3]] if found and f'.{found[2].lower()}' in files.SUFFIXES else [line]


def _parquet(path: Path, data: bytes) -> Table:
  """Reads a Parquet file."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  with reading.reading(path, 'Parquet'):
    table = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False)
    rows = [list(row) for row in zip(*(column.to_pylist() for column in table.columns))]  # names may repeat
  names = class_labels(table.schema)
  for column, classes in names.items():
    at = table.column_names.index(column)
    for row in rows:
      row[at] = classes[row[at]] if isinstance(row[at], int) and 0 <= row[at] < len(classes) else row[at]
  return Table(table.column_names, rows, [f'row {i} (from 0)' for i in range(len(rows))])


def class_labels(schema: Any) -> dict[str, list[str]]:
  """Returns the class names of the columns that Hugging Face's `datasets` stores as class numbers."""
  try:
    features = json.loads((schema.metadata or {})[b'huggingface'])['info']['features']
    return {name: found['names'] for name, found in features.items() if found.get('_type') == 'ClassLabel'}
  except (KeyError, ValueError, TypeError, AttributeError):
    return {}


def _json(path: Path, text: str) -> Table | None:
  """Reads a list of records, one record per line, {image: label}, {column: [values]} or tasks of Label Studio."""
  try:
    found = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    records = found if isinstance(found, list) else None
  except ValueError:
    records, found = [], None
    for line, row in enumerate(re.split(r'\r\n|\n|\r', text), 1):  # JSON may hold other line breaks of Unicode
      try:
        records += [json.loads(row, object_pairs_hook=lambda pairs: _once(path, pairs))] if row.strip() else []
      except ValueError as error:
        if path.suffix.lower() not in ('.json', '.jsonl', '.ndjson'):
          return None  # a CSV that starts with a bracket
        raise UserError(f'{path}: line {line} is not valid JSON ({error}).') from error
  except RecursionError as error:
    raise UserError(f'{path}: is nested too deeply; expected a list of records.') from error
  if isinstance(found, dict):
    inner = next(iter(found.values())) if len(found) == 1 else None
    of_rows = isinstance(inner, list) and inner and all(isinstance(row, dict) or _is_pair(row) for row in inner)
    records = inner if of_rows else _records(path, found)
  if records and all(map(_is_pair, records)):
    return Table(None, [[*pair] for pair in records], [f'entry {i} (from 0)' for i in range(len(records))])
  if records and not any(isinstance(record, dict | list) for record in records):  # a list of labels
    return Table(None, [[value] for value in records], [f'entry {i} (from 0)' for i in range(len(records))])
  if not records or not all(isinstance(record, dict) for record in records):
    raise UserError(f'{path}: expected records such as {{"image": "a.png", "label": "cat"}}.')
  records = exports.tasks(path, records)
  header = list(dict.fromkeys(key for record in records for key in record))
  rows = [[record.get(key) for key in header] for record in records]
  return Table(header, rows, [f'record {i}' for i in range(1, len(rows) + 1)])


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict:
  """Returns a JSON object; raises UserError if it has two values for one key, of which Python would take the last."""
  made: dict[str, Any] = {}
  for key, value in pairs:
    if key in made and made[key] != value:
      both = f'{shortened(repr(made[key]))} and {shortened(repr(value))}'
      raise UserError(f'{path}: {shortened(key)!r} has two values, {both}; expected one.')
    made[key] = value
  return made


def _records(path: Path, found: dict) -> list[dict]:
  """Returns the records in a JSON object."""
  if (records := exports.known(path, found)) is not None:
    return records
  if found and all(_is_image(key) and isinstance(values, list) for key, values in found.items()):
    return [{'image': name, 'label': values} for name, values in found.items()]
  if isinstance(rows := found.get('data'), list) and rows and isinstance(rows[0], dict):
    return rows  # pandas: orient='table'
  if rows and isinstance(found.get('columns'), list):
    return [dict(zip(found['columns'], row)) for row in rows if isinstance(row, list)]  # orient='split'
  columns = list(found.values())
  if all(isinstance(c, dict) and preferred(c, GIVEN) for c in columns):
    return [{'image': name, **value} for name, value in found.items()]
  if any(map(names_images, found)) and all(isinstance(c, dict) and c.keys() == columns[0].keys() for c in columns):
    return [{name: found[name][row] for name in found} for row in columns[0]]  # as pandas writes a data frame
  if found and all(isinstance(values, list) for values in found.values()):
    if all(isinstance(value, str) and _is_image(value) for values in found.values() for value in values):
      return [{'image': name, 'label': label} for label, names in found.items() for name in names]
    if len({len(values) for values in found.values()}) > 1:
      raise UserError(f'{path}: its columns {", ".join(found)} have different lengths.')
    return [dict(zip(found, row)) for row in zip(*found.values())]
  if all(_is_image(key) and isinstance(value, dict) for key, value in found.items()):
    return [{'image': name, **value} for name, value in found.items()]
  if any(isinstance(value, dict | list) for value in found.values()):
    return [found]
  if any(map(_is_image, found)) or len(found) > 2:
    return [{'image': key, 'label': value} for key, value in found.items()]
  return [found]


def _is_image(name: str) -> bool:
  """Returns whether a text ends with the suffix of an image file."""
  return name.lower().endswith(files.SUFFIXES)


def _is_pair(row: Any) -> bool:
  """Returns whether an entry of a list is [image, label]."""
  return isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and not isinstance(row[1], dict | list)
