"""Files of labels: a CSV or .npy with one label a row, or a CSV `image,label` that names its images.

CIFAR-10N/100N publish their labels in the order of the python version of CIFAR; TFDS shuffles. Its order is a sort of
the python rows by a keyed hash, the same on every machine, and `image_order_c10.npy` writes it down: entry t is the
python row that TFDS puts at its row t (16399, 1680, 47917, …). So `labels_tfds[t] = labels_python[order[t]]`, which is
what `read_labels(path, order)` returns.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisyjax.data import labels
from noisyjax.data.labels import Column
from noisyjax.errors import UserError


def read_column(path: str | Path) -> Column:
  """Reads a label file without judging what its labels mean.

  Raises:
    UserError: if the file cannot be read, a row is empty or has another number of fields.
  """
  path = Path(path).expanduser()
  try:
    return _read_array(path) if path.suffix == '.npy' else _read_csv(path)
  except FileNotFoundError:
    raise UserError(f'{path}: no such label file.') from None
  except (OSError, UnicodeDecodeError, csv.Error) as error:
    raise UserError(f'{path}: cannot be read as labels ({error}). Expected a CSV in UTF-8 or an .npy file.') from error


def _read_array(path: Path) -> Column:
  try:
    array = np.load(path, allow_pickle=False)
  except (ValueError, EOFError) as error:
    raise UserError(
      f'{path}: no plain array ({error}). If it holds a pickled dictionary, as CIFAR-10_human.npy does, save the '
      "labels you want with np.save('labels.npy', file.item()['worse_label'])."
    ) from error
  return labels.column_of(array, str(path))


def _read_csv(path: Path) -> Column:
  with path.open(newline='', encoding='utf-8-sig') as file:
    rows = [([labels.plain(cell) for cell in row], line) for line, row in enumerate(csv.reader(file), 1)]
  while rows and not any(rows[-1][0]):
    rows.pop()  # trailing blank lines
  if not rows:
    raise UserError(f'{path}: is empty; expected one label a row.')
  header = [cell.lower() for cell in rows[0][0]]
  named = 'image' in header and 'label' in header
  if named and (again := [name for name in ('image', 'label') if header.count(name) > 1]):
    raise UserError(f'{path}: row 1 has {header.count(again[0])} columns {again[0]!r}; expected one.')
  width = len(header) if named else 1
  rows = rows[1:] if named else rows
  for row, line in rows:
    if len(row) != width or not any(row):
      expected = f'{width} fields as in the header' if named else "one integer, or a header 'image,label' in row 1"
      raise UserError(f'{path}: row {line}: {",".join(row)!r}; expected {expected}.')
  label = header.index('label') if named else 0
  images = [row[header.index('image')] for row, _ in rows] if named else None
  cells = [row[label] or None for row, _ in rows]
  return Column(str(path), cells, [f'row {line}' for _, line in rows], images)


def read_labels(path: str | Path, order: str | Path = '') -> np.ndarray:
  """Reads integer labels, one a row, for instance a CIFAR-N file.

  Args:
    path: .npy or CSV without header.
    order: .npy with a permutation of the rows (`image_order_c10.npy` for TFDS); '' keeps the file's order.

  Returns:
    int32 [N]; with `order`, row t is the file's row order[t]. -1 = unlabeled.

  Raises:
    UserError: naming the row of a label that is not an integer or below -1, or if `order` is no permutation.
  """
  column = read_column(path)
  if column.images is not None:
    raise UserError(
      f"{column.where}: has a header 'image,label'; expected one integer a row, in the order of the rows."
    )
  values = _integers(column)
  if not order:
    return values
  rows = _integers(read_column(order))
  if len(rows) != len(values) or not np.array_equal(np.sort(rows), np.arange(len(values))):
    raise UserError(
      f'{order}: expected every row number 0..{len(values) - 1} of {path} exactly once; it has {len(rows)} entries, '
      f'{len(np.unique(rows))} different ones.'
    )
  return values[rows]


def _integers(column: Column) -> np.ndarray:
  """Returns a column's labels as int32 [N].

  Raises:
    UserError: naming the rows that are not integers of -1 or more.
  """
  numbers = [labels.number(text or '') for text in column.labels]
  wrong = [i for i, text in enumerate(numbers) if text is None or len(text) > 9 or int(text) < -1]
  if wrong:
    raise column.error(wrong, 'an integer, -1 (unlabeled) or a class 0, 1, …')
  return np.array(numbers, np.int32)


def rows_of(column: Column, names: Sequence[str]) -> tuple[np.ndarray, list[int]]:
  """Returns, for a file with header, the position in `names` of each row's image, and the rows whose image is missing.

  A row may name an image by its path below the data's root, or by its file name where that is unique.

  Returns:
    int64 [rows], -1 where the image is missing; and those rows.

  Raises:
    UserError: if two rows name one image.
  """
  names = [labels.plain(name) for name in names]
  position = {name: i for i, name in enumerate(names)}
  files: dict[str, int] = {}
  for i, name in enumerate(names):
    file = name.rpartition('/')[2]
    files[file] = -1 if file in files else i

  def place(image: str) -> int:
    if image in position:
      return position[image]
    i = files.get(image.rpartition('/')[2], -1)
    # dog/1.png is not cat/1.png: where the row names folders, the longer path must end in the shorter one.
    short, long = sorted((image, names[i]), key=len)
    return i if i >= 0 and ('/' not in image or long.endswith(f'/{short}')) else -1

  found = [place(image) for image in column.images]
  first: dict[int, int] = {}
  for row, i in enumerate(found):
    if i >= 0 and first.setdefault(i, row) != row:
      raise UserError(
        f'{column.where}: {column.places[first[i]]} and {column.places[row]} both label the image {names[i]}; '
        'expected one row an image.'
      )
  return np.array(found, np.int64), [row for row, i in enumerate(found) if i < 0]


def check_order(column: Column, names: Sequence[str]) -> None:
  """Refuses rows without names where 'sorted' has two meanings: 10.png before 2.png, or after it."""

  def by_number(name: str) -> list:
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]

  counted = sorted(names, key=by_number)
  if counted != list(names):
    i = next(i for i, (a, b) in enumerate(zip(names, counted)) if a != b)
    raise UserError(
      f'{column.where}: its rows name no images, and sorting the names as text or by number differs (position {i}: '
      f"{names[i]!r} or {counted[i]!r}). Give it a header 'image,label', or pad the numbers with zeros."
    )
