"""A column of labels as text, from an array, a list or a data frame; files are read in `label_file.py`.

Cells remain text until all columns of a run have been read; then `labels.py` interprets them. A cell without a value
(None, NaN, an empty field) means that the row is unlabeled.
"""

import enum
import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from noisyjax.system.errors import LISTED, UserError, shortened

_SHOWN = 5  # maximum number of wrong rows in a message
_INVISIBLE = '\u200b\u200c\u200d\u200e\u200f\u202a\u202c\u2060\ufeff'  # of no width; copied along with a text
_INTEGER = re.compile(r'([+-]?)0*(\d+)(?:\.0*|,00?)?', re.ASCII)  # ",0" as a spreadsheet writes it
_FLOAT = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?', re.ASCII | re.IGNORECASE)


class Column(NamedTuple):
  """The labels of one file or argument as text, with the place of each for messages.

  Attributes:
    where: the file or argument.
    labels: [N], text; None = no label.
    places: [N], 'row 3' (a table's row, counted from 1) or 'row 2 (from 0)' (an array's index).
    images: [N], the image each row names; None: rows follow the order of the images.
    notes: sentences about how the labels were read.
  """

  where: str
  labels: Sequence[str | None]
  places: Sequence[str]
  images: list[str] | None = None
  notes: tuple[str, ...] = ()

  def error(self, wrong: Sequence[int], expected: str) -> UserError:
    """Returns the error that lists the first of the `wrong` rows and says what was `expected`."""
    shown = ', '.join(f'{self.places[i]}: {shortened(self.labels[i] or "")!r}' for i in wrong[:_SHOWN])
    more = f' and {len(wrong) - _SHOWN} more' if len(wrong) > _SHOWN else ''
    return UserError(f'{self.where}: {shown}{more}; expected {expected}.')

  def take(self, rows: Sequence[int]) -> 'Column':
    """Returns the column with the given rows only."""
    images = None if self.images is None else [self.images[i] for i in rows]
    return self._replace(labels=[self.labels[i] for i in rows], places=[self.places[i] for i in rows], images=images)


def plain(text: str) -> str:
  """Returns the text without spaces around it, invisible ones too, in Unicode normal form C ("é" is one character)."""
  return unicodedata.normalize('NFC', text.strip().strip(_INVISIBLE).strip())


def number(text: str) -> str | None:
  """Returns the integer in a text as canonical text of any length ('7' for '07', '+7', '7.0', '7e0'), or None."""
  found = _INTEGER.fullmatch(text)
  if not found and is_decimal(text):
    value = Decimal(text)
    found = _INTEGER.fullmatch(f'{value:f}') if value == value.to_integral_value() else None
  if not found:
    return None
  return found[2] if found[1] != '-' or found[2] == '0' else f'-{found[2]}'


def is_decimal(text: str) -> bool:
  """Returns whether the text is a finite number."""
  return _FLOAT.fullmatch(text) is not None


def column_of(values: Any, where: str) -> Column:
  """Returns the labels in an object that holds one label per image.

  Args:
    values: a list; a NumPy, JAX or PyTorch array of integers, whole floats, bool, text, bytes or objects, [N], [N, 1]
      or one-hot [N, C]; a pandas or polars column; or a data frame with one column or one-hot columns. False and True
      are 0 and 1; an Enum's member is its text, or else its name; None and NaN mean unlabeled.
    where: name of the labels in messages.

  Raises:
    UserError: the type or shape is wrong, or a row does not hold exactly one label.
  """
  if values is None or isinstance(values, str | bytes | dict | set | frozenset):
    raise UserError(f'{where}: found {shortened(repr(values))}; expected a list or array with one label per image.')
  names = None
  if hasattr(values, 'columns') and hasattr(values, 'to_numpy'):  # a data frame of pandas or polars
    names = [label_text(str(name), where, 'the name of a column') or '' for name in values.columns]
  array = _array(values, where)
  if array.dtype.kind in 'cmMV':
    raise UserError(f'{where}: has type {array.dtype}; expected integers or names.')
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  rows = [f'row {i} (from 0)' for i in range(len(array) if array.ndim else 0)]
  if array.ndim == 2 and array.shape[1] > 1:
    return one_hot(array, where, rows, names)
  if array.ndim != 1:
    raise UserError(f'{where}: has shape {array.shape}; expected one label per image, (N,), (N, 1) or one-hot (N, C).')
  if array.dtype.kind in 'OUS':
    cells = [label_text(value, where, place) for value, place in zip(array.tolist(), rows)]
  else:  # converts each distinct value only once
    unique, inverse = np.unique(array, return_inverse=True)
    texts = [label_text(value, where, '') for value in unique.tolist()]
    cells = [texts[i] for i in inverse.tolist()]
  return Column(where, cells, rows)


def _array(values: Any, where: str) -> np.ndarray:
  """Returns labels as an array; masked values become None."""
  if np.ma.isMaskedArray(values):
    array = values.data.astype(object)
    array[np.ma.getmaskarray(values)] = None
    return array
  if isinstance(values, np.ndarray):
    return values
  if hasattr(values, 'to_pylist'):  # pyarrow
    values = values.to_pylist()
  elif hasattr(values, 'to_numpy'):
    values = values.to_numpy()  # the values without their pandas index, which would realign the rows
  if isinstance(values, np.ndarray) or hasattr(values, '__array__'):
    return np.asarray(values)
  try:
    rows = list(values)
  except TypeError:
    raise UserError(f'{where}: is a {type(values).__name__}; expected a list or array, one label per image.') from None
  if rows and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
    try:
      return np.asarray(rows)
    except ValueError:  # ragged
      pass
  array = np.empty(len(rows), object)  # NumPy would convert a mixture of numbers and text to text
  array[:] = rows
  return array


def label_text(value: Any, where: str, place: str) -> str | None:
  """Returns one label as text; None if it is missing."""
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, enum.Enum) and not isinstance(value, int | str):
    value = value.value if isinstance(value.value, str) else value.name
  if value is None or type(value).__name__ in ('NAType', 'NaTType') or (isinstance(value, float) and math.isnan(value)):
    return None
  if isinstance(value, bytes | str):
    try:
      value = value.decode() if isinstance(value, bytes) else value
      value.encode()  # JSON may hold a half of a character, which no table or page can
    except UnicodeError:
      raise UserError(f'{where}: {place} holds {shortened(repr(value))}, which is not UTF-8; expected text.') from None
  if isinstance(value, bool | int) and value.bit_length() <= 64:
    return f'{value:d}'
  if isinstance(value, float):
    return f'{value:.0f}' if value.is_integer() else repr(value)
  if isinstance(value, str):
    return plain(value) or None
  if getattr(value, 'shape', None) == ():  # an array of one value
    return label_text(value.item(), where, place)
  if isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
    return label_text(value[0], where, place)
  shown = hex(value) if isinstance(value, int) else repr(value)  # Python refuses to print integers of 5,000 digits
  raise UserError(f'{where}: {place} holds {shortened(shown)}; expected one label per image.')


def one_hot(array: np.ndarray, where: str, rows: list[str], names: list[str] | None) -> Column:
  """Returns the column for one-hot rows [N, C]; a row of zeros is unlabeled.

  Args:
    array: the rows.
    where: name of the labels in messages.
    rows: place of each row for messages.
    names: C class names; None: 0, 1, ….

  Raises:
    UserError: a row has values other than 0 and 1, or several ones.
  """
  shown = f'{where}: has shape {array.shape}'
  try:
    values = array.astype(np.float64)
  except (TypeError, ValueError):
    raise UserError(f'{shown}; expected one label per image, or one-hot rows of 0 and 1.') from None
  wrong = np.flatnonzero(~np.isin(values, (0, 1)).all(1) | ~values.any())
  if len(wrong):
    near = np.abs(values.sum(1) - 1).max() < 5e-3
    hint = ' If these are probabilities, they are `probs` and not labels.' if near else ''
    raise UserError(
      f'{shown}, and {rows[wrong[0]]} is {values[wrong[0]][:LISTED].tolist()}; expected one label per image, or '
      f'one-hot rows of 0 and 1.{hint}'
    )
  wrong = np.flatnonzero(values.sum(1) > 1)
  if len(wrong):
    raise UserError(
      f'{shown}, and {rows[wrong[0]]} has {int(values[wrong[0]].sum())} ones ({len(wrong)} such rows): several labels '
      'an image; expected one.'
    )
  names = [str(c) for c in range(array.shape[1])] if names is None else names
  cells = [names[c] if ones else None for c, ones in zip(values.argmax(1).tolist(), values.sum(1).tolist())]
  return Column(where, cells, rows)
