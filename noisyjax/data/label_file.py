"""Reads label files: finds the column that names the image and the column that holds the label.

CIFAR-10N and CIFAR-100N (UCSC-REAL/cifar-10-100n, revision 49df7d8, README.md) publish their labels as dictionaries
of arrays, of which a column selects one: `CIFAR-10_human.pt` holds `clean_label`, `worse_label`, `aggre_label` and
`random_label1` to `random_label3`, and `CIFAR-100_human.pt` holds `clean_label` and `noisy_label`.

Their rows are in the order of the python version of CIFAR; TFDS shuffles the rows. Its order sorts the python rows by a
keyed hash and is the same on every machine. `image_order_c10.npy` and `image_order_c100.npy` store it: entry t is the
python row at row t of TFDS (CIFAR-10: 16399, 1680, 47917, …). Hence `labels_tfds[t] = labels_python[order[t]]`, which
`read_labels(path, order)` returns. The files `…_human_ordered.npy` are in the order of TFDS already.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import column_names, files, part_names, pickled, table
from noisyjax.data.column import Column, column_of, label_text, number, one_hot, plain
from noisyjax.data.column_names import key
from noisyjax.system import reading
from noisyjax.system.errors import LISTED, UserError, listed

_NAMES_IMAGE = re.compile(rf'({"|".join(map(re.escape, files.SUFFIXES))})\b', re.IGNORECASE)


def read_column(path: str | Path, image_column: str = '', label_column: str = '', kind: str = 'labels') -> Column:
  """Reads a label file as text, without interpreting the labels.

  Args:
    path: .npy; .npz, .pt or pickle of one array, or of several of which one is called `labels` or `label_column`; CSV
      (separated by , ; tab or |, with or without header); lines "path label"; JSON (records, exports of Label Studio);
      JSON Lines; or Parquet.
    image_column: name of the column that names the image; '' = found by its name or content.
    label_column: name of the column that holds the label; '' = found by its name or content. Verified and true labels
      are in it if the file has it and no column whose name says that they are.
    kind: a key of `column_names.OF_KIND`: the labels that are asked for, of a file that holds several.

  Raises:
    UserError: the file cannot be read, or the columns cannot be identified.
  """
  path = reading.file_of(path)
  with reading.reading(path, 'labels', ''), path.open('rb') as file:
    start = file.read(6)
  if pickled.is_pickled(path):
    return _chosen(pickled.read(path, 'labels, or a dictionary of them'), str(path), label_column, kind)
  if path.suffix.lower() in ('.npy', '.npz') or start == b'\x93NUMPY':
    return _read_array(path, label_column, kind)
  found = table.read(path)
  column = _column(str(path), found, image_column, label_column, kind)
  if not column.labels:
    raise UserError(f'{path}: has a header and no rows; expected a label for each image.')
  return column._replace(notes=(*found.notes, *column.notes))


def _read_array(path: Path, name: str, kind: str) -> Column:
  """Reads the labels in an .npy or .npz file; `name` is the array of an .npz, or ''."""
  if not path.stat().st_size:
    raise UserError(f'{path}: is empty (0 bytes); was it downloaded to its end?')
  with reading.reading(path, 'a plain array'):
    found = np.load(path, allow_pickle=False)
    if not isinstance(found, np.lib.npyio.NpzFile):
      return _chosen(found, str(path), name, kind)
    with found:
      return _chosen(dict(found), str(path), name, kind)


def _chosen(found: Any, where: str, name: str, kind: str) -> Column:
  """Returns the labels in an object: the object itself, or of a dictionary its only entry or the named one."""
  if not isinstance(found, dict):
    return column_of(found, where)
  entries = {str(entry): value for entry, value in found.items()}
  usual = column_names.preferred(entries, column_names.OF_KIND[kind])
  one = _asked(name, entries, kind) or (next(iter(entries)) if len(entries) == 1 else next(iter(usual), 'labels'))
  if one not in entries:
    fields = 'data.label_column, or noise.column for noise.path'
    said = f', and no {name!r}' if name else ''
    raise UserError(f'{where}: holds {listed(entries) or "nothing"}{said}; name one of them ({fields}).')
  column, names = column_of(entries[one], f'{where}: {one}'), (*column_names.IMAGES, *column_names.PLURAL)
  for name in column_names.preferred(entries, names):
    images = np.asarray(entries[name])
    if images.dtype.kind in 'US' and images.shape == (len(column.labels),):
      texts = [label_text(image, where, '') or '' for image in images.tolist()]
      return column._replace(images=texts)
  return column


def _asked(name: str, names: Iterable[str], kind: str) -> str:
  """Returns the column `name` that the user asked for; '' if another one is known to hold labels of this kind."""
  names = list(names)
  own = column_names.OF_KIND[kind][: -len(column_names.LABELS)]  # () for given labels
  there = key(name) in map(key, names)
  return name if kind == 'labels' or (there and not column_names.preferred(names, own)) else ''


def _column(where: str, found: table.Table, image_column: str, label_column: str, kind: str) -> Column:
  """Finds the columns of images and labels in a table and returns them as a `Column`."""
  header, rows, places, notes = found.header, found.rows, found.places, ()
  if header is None and rows and _is_header(rows, image_column, label_column):
    header, rows, places = [str(cell or '') for cell in rows[0]], rows[1:], places[1:]
  if header is None:
    image, label = _by_content(where, rows)
  else:
    image, label = _by_name(where, header, rows, image_column, _asked(label_column, header, kind), kind)
    known = sum(key(name) in (*column_names.IMAGES, *column_names.GIVEN) for name in header)
    if not (image_column and label_column) and known > 2:
      shown = ' and '.join(repr(header[i]) for i in (image, label) if isinstance(i, int))
      notes = (f'{where}: of its columns {listed(header)}, {shown} are read.',)
    if kind == 'labels':
      notes += tuple(_part_notes(where, header, rows, [image, label]))
  images = None if image is None else [_image(where, row[image], place) for row, place in zip(rows, places)]
  if isinstance(label, list):
    column = _one_hot(where, [(header or ())[i] for i in label], [[row[i] for i in label] for row in rows], places)
  else:
    column = Column(where, [label_text(row[label], where, place) for row, place in zip(rows, places)], places)
  return column._replace(images=images, notes=notes)


def _part_notes(where: str, header: list[str], rows: list[list[Any]], read: list) -> Iterator[str]:
  """Yields a note for a column that says which rows are test rows, but which is not read."""
  for i, name in enumerate(header):
    known = key(name) in part_names.COLUMNS
    likely = rows and i not in read and (known or part_names.part_of(str(rows[0][i])))
    counts = Counter('empty' if row[i] is None else str(row[i]) for row in rows) if likely else {}
    if 1 < len(counts) <= LISTED and (known or all(map(part_names.part_of, counts))):
      shown = ', '.join(f'{part} {count}' for part, count in counts.items())
      yield (
        f'{where}: its column {name!r} ({shown}) is not read, so all its rows may train; name those that must not '
        'in a file, data.test=@FILE.'
      )


def _is_header(rows: list[list[Any]], *wanted: str) -> bool:
  """Returns whether the first row is a header."""
  first, below = [str(cell or '') for cell in rows[0]], rows[1:]
  if {key(cell) for cell in first} & {key(name) for name in wanted if name}:
    return True
  if len(first) > 1 and key(first[0]) in column_names.INDEX and _counts([row[0] for row in below]):
    return True  # above row numbers
  if _pictures(first):
    return False
  if len(first) == 1 and len(below) > 1 and not _is_number(first[0]) and all(_is_number(row[0]) for row in below):
    return True  # text above numbers
  names = (*column_names.IMAGES, *column_names.GIVEN)
  known = [i for i, cell in enumerate(first) if key(cell) in names]  # if it repeats below, it is a label
  return (
    any(all(row[i] != first[i] for row in below) for i in known)
    or _pictures([cell for row in below for cell in row]) > 0
  )


def _is_number(cell: Any) -> bool:
  """Returns whether a cell is empty or a number."""
  return cell is None or number(str(cell)) is not None or str(cell).lower() == 'nan'


def _pictures(cells: list[Any]) -> int:
  """Returns the number of cells that end with the suffix of an image file."""
  return sum(str(cell or '').lower().endswith(files.SUFFIXES) for cell in cells)


def _by_content(where: str, rows: list[list[Any]]) -> tuple[int | None, int]:
  """Returns the indices of the image column (None = none) and of the label column in a file without header."""
  width = len(rows[0]) if rows else 1
  if width == 1:
    cells = [str(row[0] or '') for row in rows]
    if sum(_NAMES_IMAGE.search(cell) is not None for cell in cells) > len(cells) / 2:
      raise UserError(
        f'{where}: row 1 is {cells[0][:200]!r}: names an image, but no label apart from it; expected a separator, such '
        'as in a.png,cat.'
      )
    return None, 0
  if width == 2:
    image = int(_pictures([row[1] for row in rows]) > _pictures([row[0] for row in rows]))
    return image, 1 - image
  raise UserError(
    f'{where}: row 1 is {listed(str(cell or "") for cell in rows[0])!r}: {width} columns, none of them called '
    'image or label. Write a header such as image,label above them, or name the two in it '
    '(data.image_column, data.label_column).'
  )


def _by_name(
  where: str, header: list[str], rows: list[list[Any]], image_column: str, label_column: str, kind: str
) -> tuple[int | None, int | list[int]]:
  """Returns the indices of the image and label columns in a file with header.

  Returns:
    The image column, or None if rows follow the order of the images; and the label column, or the columns of one-hot
    labels.
  """
  keys = [key(name) for name in header]
  image = _named(where, header, image_column, 'image') if image_column else _first(where, header, column_names.IMAGES)
  usual = column_names.OF_KIND[kind]
  label = _named(where, header, label_column, 'label') if label_column else _first(where, header, usual)
  pictures = [_pictures([row[i] for row in rows]) for i in range(len(header))]
  files_ = [i for i in range(len(header)) if i != label and pictures[i] > len(rows) / 2]
  if image is not None and not image_column and not pictures[image] and files_:
    image = files_[0]  # file names are clearer than an id
  counted = [name in column_names.INDEX and _counts([row[i] for row in rows]) for i, name in enumerate(keys)]
  rest = [i for i in range(len(header)) if i not in (image, label) and not counted[i]]
  if image is None and label is not None:
    named = [i for i in rest if pictures[i] > len(rows) / 2]
    image = named[0] if named else rest[0] if len(rest) == 1 else None
    if image is None and rest:
      raise _unclear(where, header, 'the image', 'image_column')
  elif label is None:
    if image is None and len(rest) == 1 and (len(header) == 1 or any(counted)):
      return None, rest[0]
    if image is None and len(rest) == 2:
      image = max(rest, key=lambda i: pictures[i])
      rest = [i for i in rest if i != image]
    if len(rest) == 1 and image is not None:
      label = rest[0]
    elif image is not None and len(rest) > 1 and _are_classes(header, rows, rest):
      label = rest
    else:
      raise _unclear(where, header, 'the label', 'label_column')
  return image, label


def _counts(cells: list[Any]) -> bool:
  """Returns whether the cells are the row numbers, counted from 0 or 1."""
  numbers = [number(str(cell)) for cell in cells]
  return any(numbers == [str(i + start) for i in range(len(cells))] for start in (0, 1))


def _named(where: str, header: list[str], name: str, kind: str) -> int:
  """Returns the index of the column that the user named; raises UserError unless there is exactly one."""
  at = [i for i, found in enumerate(header) if found == name]
  at = at or [i for i, found in enumerate(header) if key(found) == key(name)]
  if len(at) != 1:
    raise UserError(
      f'{where}: has {len(at) or "no"} columns {name!r} (data.{kind}_column); its columns are {listed(header)}.'
    )
  return at[0]


def _first(where: str, header: list[str], known: Sequence[str]) -> int | None:
  """Returns the index of the first known name in the header; None if there is none."""
  keys = [key(name) for name in header]
  found = next((name for name in known if name in keys), None)
  if found is not None and keys.count(found) > 1:
    raise UserError(f'{where}: row 1 has {keys.count(found)} columns {found!r}; expected one.')
  return None if found is None else keys.index(found)


def _unclear(where: str, header: list[str], what: str, field: str) -> UserError:
  """Returns the error for a table in which a column cannot be identified."""
  return UserError(
    f'{where}: which of its columns is {what}? They are {listed(header)}; call two of them image and label, or '
    f'say --config.data.{field}=NAME.'
  )


def _are_classes(header: list[str], rows: list[list[Any]], columns: list[int]) -> bool:
  """Returns whether columns may be one-hot: cells are 0 or 1, or marked or empty, and none is one of true labels.

  Of cells yes and no, a row has one yes: otherwise they answer questions of their own, such as blurry and checked.
  """
  if any(key(header[i]) in column_names.TRUTHS for i in columns):
    return False
  bits = [[_bit(row[i]) for i in columns] for row in rows]
  if any(None in own for own in bits) or not any('1' in own for own in bits):
    return False
  answered = any(str(row[i]).casefold() == 'no' for row in rows for i in columns)
  filled = (own for own, row in zip(bits, rows) if any(row[i] is not None for i in columns))
  return not answered or all(own.count('1') == 1 for own in filled)


def _bit(cell: Any) -> str | None:
  """Returns '0' or '1' for a cell 0, 1, false, true, no, yes, for an empty one and for a mark; None for others."""
  text = '' if cell is None else str(cell).casefold()
  text = '0' if text in ('', 'false', 'no') else '1' if text in ('true', 'yes', 'x', '✓', '✔') else number(text)
  return text if text in ('0', '1') else None


def _one_hot(where: str, names: list[str], rows: list[list[Any]], places: list[str]) -> Column:
  """Returns the labels in one-hot columns, which are named as the classes."""
  bits = np.array([[float(_bit(cell) or 'nan') for cell in row] for row in rows]).reshape(len(rows), len(names))
  return one_hot(bits, where, places, [label_text(name, where, 'the name of a column') or '' for name in names])


def _image(where: str, value: Any, place: str) -> str:
  """Returns the image that a row names; Parquet files of Hugging Face store it as {'path': …, 'bytes': …}."""
  value = value.get('path') if isinstance(value, dict) else value
  if isinstance(value, bytes):
    value = label_text(value, where, place)  # the bytes of an image are not UTF-8
  if value is None or value == '':
    raise UserError(f'{where}: {place} names no image; expected its file name.')
  return plain(f'{value:.0f}' if isinstance(value, float) and value.is_integer() else str(value))


def read_labels(path: str | Path, order: str | Path = '', name: str = '') -> np.ndarray:
  """Reads integer labels, one per row, for example a CIFAR-N file.

  Args:
    path: a file of labels alone, in any format of `read_column`.
    order: .npy with a permutation of the rows (`image_order_c10.npy` for TFDS); '' keeps the order of the file.
    name: name of the array or column of labels; '' = the only one, or found by its name.

  Returns:
    Labels, int32 [N]; -1 = unlabeled. With `order`, row t is row order[t] of the file.

  Raises:
    UserError: a label is not an integer of at least -1, or `order` is not a permutation.
  """
  return _integers(read_rows(path, order, name))


def read_rows(path: str | Path, order: str | Path = '', name: str = '') -> Column:
  """Reads labels as text; arguments and order as in `read_labels`."""
  column = read_column(path, label_column=name)
  if column.images is not None:
    raise UserError(
      f"{column.where}: has a header 'image,label'; expected one integer a row, in the order of the rows."
    )
  if not order:
    return column
  rows, count = _integers(read_column(order)), len(column.labels)
  if len(rows) != count or not np.array_equal(np.sort(rows), np.arange(count)):
    raise UserError(
      f'{order}: expected every row number 0..{count - 1} of {path} exactly once; it has {len(rows)} entries, '
      f'{len(np.unique(rows))} different ones.'
    )
  return column.take(rows.tolist())


def _integers(column: Column) -> np.ndarray:
  """Returns the labels of a column as int32 [N].

  Raises:
    UserError: labels are not integers of at least -1.
  """
  numbers = [number(text or '') for text in column.labels]
  wrong = [i for i, text in enumerate(numbers) if text is None or len(text) > 9 or int(text) < -1]
  if wrong:
    raise column.error(wrong, 'an integer, -1 (unlabeled) or a class 0, 1, …')
  return np.array(numbers, np.int32)
