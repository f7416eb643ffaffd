"""Predicted probabilities given by the user, as arrays, data frames or files, with the names of their columns."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.data import column_names, match, table
from noisyjax.data.column import Column, label_text, number, plain
from noisyjax.data.labels import class_names
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log

_PREDICTED = ('image', 'label', 'confidence')  # the first columns of a file that predict wrote
_WANTED = 'expected a column of probabilities for each class, as `predict --probs` writes them'


class Probs(NamedTuple):
  """Probabilities that have not been checked yet.

  Attributes:
    where: their name in messages.
    values: the probabilities [N, C].
    classes: C class names; () = unknown.
    images: the image of each row; None: rows follow the order of the images.
  """

  where: str
  values: np.ndarray
  classes: tuple[str, ...] = ()
  images: list[str] | None = None

  @property
  def option(self) -> str:
    """The option that sets the class of each column, for messages."""
    return '--classes' if self.where.startswith('--') else 'classes'


def probs_of(values: Any, where: str = 'probs') -> Probs:
  """Returns the probabilities in an array, a list of lists or a data frame, whose columns may have the class names."""
  if isinstance(values, Probs):
    return values
  names = ()
  if hasattr(values, 'columns') and hasattr(values, 'to_numpy'):
    names = _named([str(name) for name in values.columns])
    values = values.to_numpy()
  try:
    return Probs(where, np.asarray(values), names)
  except ValueError as error:
    raise UserError(f'{where}: its rows have different lengths; expected an array [N, C].') from error


def _named(names: Sequence[str]) -> tuple[str, ...]:
  """Returns the names of the columns; () if they are 0, 1, …."""
  names = tuple(plain(name) for name in names)
  return () if [number(name) for name in names] == [str(i) for i in range(len(names))] else names


def read(path: str | Path, where: str = '--probs') -> Probs:
  """Reads probabilities from a file.

  Args:
    path: .npy [N, C]; .npz with `probs` or only one array, and optionally `classes` and `names` of the images; or a
      CSV, JSON or Parquet table with a column for each class, named as the class, and optionally a column that names
      the image.
    where: name of the option, for messages.

  Raises:
    UserError: the file has none of these formats.
  """
  path = reading.file_of(path, where)
  where = f'{where}: {path}'
  if path.suffix.lower() in ('.npy', '.npz'):
    with reading.reading(where, 'an array'):
      found = np.load(path, allow_pickle=False)
      if not isinstance(found, np.lib.npyio.NpzFile):
        return Probs(where, found)
      with found:
        arrays = {key: found[key] for key in found.files}
    names = tuple(label_text(name, where, '') or '' for name in arrays.pop('classes', np.zeros(0)).ravel().tolist())
    images = [label_text(name, where, '') or '' for name in arrays.pop('names', np.zeros(0)).ravel().tolist()]
    key = next(iter(arrays)) if len(arrays) == 1 else 'probs'
    if key not in arrays:
      raise UserError(
        f'{where}: holds {listed(arrays)}; expected probs [N, C], and optionally classes [C] and names [N].'
      )
    if images and arrays[key].shape[:1] != (len(images),):
      raise UserError(f'{where}: has {len(images)} names for {key} of shape {arrays[key].shape}; expected one a row.')
    return Probs(where, arrays[key], names, images or None)
  return _of_table(where, table.read(path))


def _of_table(where: str, found: table.Table) -> Probs:
  """Returns the probabilities in a table that was read from a file."""
  header, rows, places = found.header, found.rows, found.places
  if header is None and not all(_value(cell) is not None for cell in rows[0]):
    header, rows, places = [str(cell or '') for cell in rows[0]], rows[1:], places[1:]
  if not rows:
    raise UserError(f'{where}: has no rows; expected one per image.')
  header = header or [str(i) for i in range(len(rows[0]))]
  if header[:3] == list(_PREDICTED):  # a file of predict: its probabilities follow
    log.warning(
      '%s: was written by `predict`. For images that the run trained on, it agrees with wrong labels, too; expected '
      'images that it did not see.',
      where,
    )
    header = [header[0], *(name.removesuffix(' (class)') for name in header[3:])]
    rows = [[row[0], *row[3:]] for row in rows]
  names = [i for i, name in enumerate(header) if column_names.names_images(name) and not _are_shares(rows, i)]
  text = [i for i, cell in enumerate(rows[0]) if i in names or _value(cell) is None]
  if len(text) > 1:
    raise UserError(
      f'{where}: the columns {listed(header[i] for i in text)} hold no probabilities; expected one column that names '
      'the image, and a column of probabilities for each class.'
    )
  rest = [i for i, name in enumerate(header) if column_names.key(name) in column_names.INDEX and i not in text]
  index = [i for i in rest if not header[i] or not _are_shares(rows, i)]  # row numbers, as pandas writes them
  columns = [i for i in range(len(header)) if i not in (*text, *index)]
  if index and not text:
    _check_ascending(where, [_value(row[index[0]]) for row in rows], places)
  if not columns:
    raise UserError(f'{where}: holds no probabilities; {_WANTED}.')
  values = [[_value(row[i]) for i in columns] for row in rows]
  for row, place in zip(values, places):
    if None in row:
      raise UserError(f'{where}: {place} holds {listed(row)}; expected a number for each class.')
  array = np.array(values, np.float64)
  if np.array_equal(array, np.round(array)) and not np.isin(array.sum(1), (1, 100)).all():
    raise UserError(f'{where}: holds whole numbers alone, as a file of labels does; {_WANTED}.')
  images = [str(row[text[0]]) for row in rows] if text else None
  return Probs(where, array, _named([header[i] for i in columns]), images)


def _are_shares(rows: Sequence[Sequence[Any]], column: int) -> bool:
  """Returns whether the cells of a column may be probabilities: numbers from 0 to 1."""
  return all((value := _value(row[column])) is not None and 0 <= value <= 1 for row in rows)


def _check_ascending(where: str, numbers: Sequence[float | None], places: Sequence[str]) -> None:
  """Raises UserError if row numbers do not ascend, as those of folds that were put together: the rows are shuffled."""
  for place, last, own in zip(places[1:], numbers, numbers[1:]):
    if last is not None and own is not None and own <= last:
      raise UserError(
        f'{where}: {place} has the number {own:g} after {last:g}, so the rows are not in the order of the images. Sort '
        'them, or add a column image that names the image of each row.'
      )


def _value(cell: Any) -> float | None:
  """Returns a cell as a number, which a spreadsheet may have saved with a decimal comma; None if it is not one."""
  try:
    return float(cell.replace(',', '.') if isinstance(cell, str) else cell)
  except (TypeError, ValueError):
    return None


def in_order(found: Probs, names: Sequence[str], root: str | Path) -> Probs:
  """Returns the probabilities in the order of the images.

  Args:
    found: the probabilities.
    names: names of the images.
    root: folder or archive of the images, for messages.

  Raises:
    UserError: an image has no row.
  """
  if found.images is None:
    return found
  rows = [str(i) for i in range(len(found.images))]
  column = match.aligned(Column(found.where, rows, [f'row {i} (from 0)' for i in rows], found.images), names, root)
  if without := match.without_row(column):
    raise UserError(
      f'{found.where}: {len(without)} of {len(names)} images have no row, the first is {names[without[0]]!r}; expected '
      'probabilities for each.'
    )
  return found._replace(values=found.values[[int(row) for row in column.labels if row is not None]], images=None)


def classes_of(found: Probs, column: Column, unlabeled: str, wanted: Sequence[Any] = ()) -> tuple[tuple[str, ...], str]:
  """Returns the class of each column of `found`, and a note on what was assumed ('' = nothing).

  Args:
    found: the probabilities.
    column: the labels.
    unlabeled: class name that means "unlabeled".
    wanted: the classes that the user declared; () = none.

  Raises:
    UserError: the class names or the labels do not match the number of columns.
  """
  C = found.values.shape[1]
  wanted = wanted or found.classes
  if len(wanted):
    names = class_names([column], unlabeled, wanted)
    if len(names) != C:
      raise UserError(f'{found.where}: has {C} columns for the {len(names)} classes {listed(names)}; expected as many.')
    return names, ''
  names = class_names([column], unlabeled)
  numbers = [str(c) for c in range(C)]
  if {*names} <= {*numbers}:
    names = tuple(numbers)
  elif len(names) != C:
    odd = next((i for i, text in enumerate(column.labels) if number(text or '') in {*names} - {*numbers}), None)
    if odd is not None:
      raise column.error([odd], f'one of {C} classes, as {found.where} has columns: a number in 0..{C - 1}')
    raise UserError(
      f'{column.where}: {len(names)} classes ({listed(names)}), but {found.where} has {C} columns. Set the class of '
      f'each column: {found.option}=A,B,… in the order of the columns.'
    )
  return names, (
    f'{found.where}: its columns have no names; the order {listed(names)} is assumed ({found.option}=… sets another).'
  )


def checked(found: Probs, count: int) -> np.ndarray:
  """Returns the probabilities as float32 [N, C].

  Args:
    found: the probabilities.
    count: number of images N.

  Raises:
    UserError: the shape or a row is wrong; the message names the first such row.
  """
  probs, where = found.values, found.where
  if probs.ndim == 1 or (probs.ndim == 2 and probs.shape[1] == 1):
    raise UserError(
      f'{where}: found shape {probs.shape}: one number per image, as a sigmoid returns; expected (N, C), a column per '
      'class. For two classes: p = probs.reshape(-1); np.stack([1 - p, p], 1).'
    )
  if probs.ndim != 2:
    raise UserError(f'{where}: found shape {probs.shape}; expected (N, C), a row per image and a column per class.')
  if len(probs) != count:
    raise UserError(f'{where}: has {len(probs)} rows for {count} images; expected one row per image.')
  if probs.dtype.kind not in 'iuf':
    raise UserError(f'{where}: has type {probs.dtype}; expected numbers from 0 to 1.')
  total = probs.sum(1, dtype=np.float64)
  for bad, what in (
    (~np.isfinite(probs).all(1), 'is not finite'),
    ((probs < 0).any(1), 'has a negative number'),
    (np.abs(total - 1) > 5e-3, 'does not sum to 1'),  # float16 rounds that much
  ):
    if bad.any():
      row = int(bad.argmax())
      shown = np.array2string(probs[row], precision=3, threshold=8)
      hint = ' (if these are percentages: probs / 100)' if 'sum' in what and (np.abs(total - 100) < 1).all() else ''
      hint = ' (if these are logits: their softmax)' if 'negative' in what else hint
      raise UserError(
        f'{where}: row {row} (from 0) {what}: {shown} ({bad.sum()} such rows); expected probabilities{hint}.'
      )
  return probs.astype(np.float32)
