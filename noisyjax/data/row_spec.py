"""The grammar by which a config names rows: ranges, fractions, and files of rows, ids or names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import column_names, match, table
from noisyjax.data.column import plain
from noisyjax.system import reading
from noisyjax.system.errors import UserError

GRAMMAR = (
  "index ranges 'a:b' or 'a:b,c:d', a fraction between 0 and 1 such as '0.1', or '@file' with row numbers, ids or "
  'names of images'
)


def parse(field: str, spec: Any, ids: np.ndarray, names: Sequence[str] | np.ndarray = ()) -> float | np.ndarray:
  """Parses a specification of rows.

  Args:
    field: name of the field, for messages.
    spec: the specification, see GRAMMAR.
    ids: sample ids [N].
    names: names of the images [N]; empty = the ids.

  Returns:
    A fraction as float; for other specifications the sorted row numbers, int64.

  Raises:
    UserError: the specification is malformed or names rows that do not exist.
  """
  text, n = str(spec).strip(), len(ids)
  if text.startswith('@'):
    return _read_rows(field, reading.file_of(text[1:], field), ids, names if len(names) else ids)
  if ':' in text:
    return np.unique(np.concatenate([_range(field, part, n) for part in text.split(',')]))
  try:
    fraction = float(text)
  except ValueError:
    raise UserError(f'{field}: {text!r} is malformed; expected {GRAMMAR}.') from None
  if not 0 < fraction < 1:
    raise UserError(f"{field}: {text!r}: a fraction must lie between 0 and 1; for all rows use ':', for one row '5:6'.")
  return fraction


def _range(field: str, text: str, n: int) -> np.ndarray:
  """Returns the row numbers of a range 'a:b'."""
  found = re.fullmatch(r'\s*([0-9]{0,18})\s*:\s*([0-9]{0,18})\s*', text)
  if not found:
    raise UserError(f'{field}: {text.strip()!r} is malformed; expected {GRAMMAR}.')
  start, stop = int(found[1] or 0), int(found[2] or n)
  if stop > n or start > n:
    raise UserError(f'{field}: {text.strip()!r} reaches outside the data, which has {n} rows (0:{n}).')
  if start >= stop:
    raise UserError(f'{field}: {text.strip()!r} names no rows; a range a:b holds the rows a to b - 1.')
  return np.arange(start, stop, dtype=np.int64)


def _lines(field: str, file: Path, count: int) -> list[str]:
  """Returns the lines of a file of rows; of an .npy file, its entries, or where a bool mask [count] is True."""
  with reading.reading(f'{field}: {file}', 'a list of rows', ''):
    data = file.read_bytes()
    if not data.startswith(b'\x93NUMPY'):
      return _image_cells(file) or table.decoded(file, data).splitlines()
    found = np.load(file, allow_pickle=False)
  if found.dtype == bool and found.shape == (count,):
    found = np.flatnonzero(found)
  if found.ndim != 1 or found.dtype.kind not in 'iuU':
    raise UserError(
      f'{field}: {file}: is an array {found.dtype} of shape {found.shape}; expected row numbers, names, or bool '
      f'({count},).'
    )
  return list(map(str, found.tolist()))


def _image_cells(file: Path) -> list[str]:
  """Returns the images that a table names, such as a CSV file with the header image,label; [] if it is none."""
  try:
    found = table.read(file)
  except UserError:
    return []
  header, rows = (found.header, found.rows) if found.header else ([str(c) for c in found.rows[0]], found.rows[1:])
  named = column_names.preferred(header, column_names.IMAGES)
  if len(header) == 1 or not named:
    return []
  return [str(row[header.index(named[0])]) for row in rows]


def _read_rows(field: str, file: Path, ids: np.ndarray, names: Sequence[str] | np.ndarray) -> np.ndarray:
  """Reads row numbers, sample ids or image names from a text file, one per line, or from an .npy file.

  Empty lines, a header and comments starting with '#' are skipped.
  """
  lines = _lines(field, file, len(ids))
  place, found = {str(name): row for row, name in enumerate(ids)}, match.Names(names)
  rows, bad = [], []
  for number, line in enumerate(lines, 1):
    word = plain(line.partition('#')[0]).strip('"')
    if not word or (not rows and not bad and (word.lower() == 'row' or column_names.names_images(word))):
      continue
    if word not in place and (not word.isdecimal() or str(int(word[:18])) != word):  # 00012 is a name, 12 a row number
      fits = found.find(plain(line).strip('"'))[0] or found.find(word)[0]
      row = fits[0] if len(fits) == 1 else -1
    else:
      row = place.get(word, int(word) if len(word) < 19 else -1)
    if 0 <= row < len(ids):
      rows.append(row)
    else:
      bad.append(f'line {number}: {word[:200]!r}')
  if bad:
    more = f' and {len(bad) - 5} more' if len(bad) > 5 else ''
    raise UserError(
      f'{field}: {file}: {"; ".join(bad[:5])}{more}; expected row numbers 0..{len(ids) - 1}, sample ids, or names of '
      f'images such as {str(names[0])!r}.'
    )
  if len(rows) == len(ids) > 2 and {*rows} <= {0, 1}:
    raise UserError(f'{field}: {file}: its {len(rows)} lines are 0 or 1: a mask? Expected the numbers of the rows.')
  if not rows:
    raise UserError(f'{field}: {file}: names no rows.')
  return np.unique(np.array(rows, np.int64))
