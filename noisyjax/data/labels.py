"""What labels mean, decided once for all the columns of a run: cells of text, then classes, then class numbers.

A column comes from a file, an array, a list or a data frame. Its cells stay text until all columns are there: "3.0" in
one file and "3" in another are one class, "10" follows "2", and names beside numbers are a mistake that no single row
can show. A cell without a value (None, NaN, an empty field) means: no label.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from noisyjax.system.errors import LISTED, UserError, cut, listed

_SHOWN = 5  # wrong rows in one message
_INTEGER = re.compile(r'([+-]?)0*(\d+)(?:\.0*)?', re.ASCII)
_FLOAT = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?', re.ASCII | re.IGNORECASE)
_NAN = ('nan', '<na>')  # how NumPy and pandas write a missing number
_NO_LABEL = (
  'unlabeled',
  'unlabelled',
  'undefined',
  'unknown',
  'none',
  'null',
  'na',
  'n/a',
  '?',
  'unsure',
  'no label',
  'nolabel',
)
_PARTS = ('train', 'training', 'test', 'testing', 'val', 'valid', 'validation')


class Column(NamedTuple):
  """The labels of one file or argument as text, with the place of each for messages.

  Attributes:
    where: the file or argument. labels: text, or None = no label. places: 'row 3' (a table's row, counted from 1) or
      'row 2 (from 0)' (an array's index). images: the image each row names; None: rows follow the order of the images.
    notes: what a person should know of the way it was read.
  """

  where: str
  labels: list[str | None]
  places: Sequence[str]
  images: list[str] | None = None
  notes: tuple[str, ...] = ()

  def error(self, wrong: Sequence[int], expected: str) -> UserError:
    """Returns the error that names the first of the `wrong` rows and says what was `expected`."""
    shown = ', '.join(f'{self.places[i]}: {cut(self.labels[i] or "")!r}' for i in wrong[:_SHOWN])
    more = f' and {len(wrong) - _SHOWN} more' if len(wrong) > _SHOWN else ''
    return UserError(f'{self.where}: {shown}{more}; expected {expected}.')

  def take(self, rows: Sequence[int]) -> 'Column':
    """Returns the column of these rows alone."""
    images = None if self.images is None else [self.images[i] for i in rows]
    return self._replace(labels=[self.labels[i] for i in rows], places=[self.places[i] for i in rows], images=images)


def plain(text: str) -> str:
  """Returns the text without spaces around it, "é" as one letter however it was written."""
  return unicodedata.normalize('NFC', text.strip())


def number(text: str) -> str | None:
  """Returns the integer that the text writes ('7' for '07', '+7', '7.0', '7e0'), as text: no limit; None if none."""
  found = _INTEGER.fullmatch(text)
  if not found and _FLOAT.fullmatch(text):
    value = Decimal(text)
    found = _INTEGER.fullmatch(f'{value:f}') if value == value.to_integral_value() else None
  if not found:
    return None
  return found[2] if found[1] != '-' or found[2] == '0' else f'-{found[2]}'


def in_order(names: Iterable[str]) -> tuple[str, ...]:
  """Returns names sorted: by value if all are numbers, else as text."""
  names = list(names)
  numbers = [number(name) for name in names]
  if None in numbers:
    return tuple(sorted(names))
  value = lambda name: (-len(name), name) if name.startswith('-') else (len(name), name)
  return tuple(name for _, name in sorted(zip(numbers, names), key=lambda pair: value(pair[0])))


def column_of(values: Any, where: str) -> Column:
  """Returns the labels in any object that holds one an image.

  Args:
    values: a list, a NumPy, JAX or PyTorch array of integers, whole floats, bool, text, bytes or objects, [N] or [N, 1]
      or one-hot [N, C]; a pandas or polars column, or a data frame with one column or one-hot columns. False and True
      are 0 and 1; None and NaN are no label.
    where: what messages call it.

  Raises:
    UserError: naming what `values` is, or the row that holds something else than one label.
  """
  if values is None or isinstance(values, str | bytes | dict | set | frozenset):
    raise UserError(f'{where}: found {cut(repr(values))}; expected a list or array with one label an image.')
  names = None
  if hasattr(values, 'columns') and hasattr(values, 'to_numpy'):  # a data frame of pandas or polars
    names = [plain(str(name)) for name in values.columns]
  array = _array(values, where)
  if array.dtype.kind in 'cmMV':
    raise UserError(f'{where}: has type {array.dtype}; expected integers or names.')
  if array.ndim == 2 and array.shape[1] == 1:
    array = array[:, 0]
  rows = [f'row {i} (from 0)' for i in range(len(array) if array.ndim else 0)]
  if array.ndim == 2 and array.shape[1] > 1:
    return one_hot(array, where, rows, names)
  if array.ndim != 1:
    raise UserError(f'{where}: has shape {array.shape}; expected one label an image, (N,), (N, 1) or one-hot (N, C).')
  if array.dtype.kind in 'OUS':
    cells = [cell(value, where, place) for value, place in zip(array.tolist(), rows)]
  else:  # few different values: each is written once
    unique, inverse = np.unique(array, return_inverse=True)
    texts = [cell(value, where, '') for value in unique.tolist()]
    cells = [texts[i] for i in inverse.tolist()]
  return Column(where, cells, rows)


def _array(values: Any, where: str) -> np.ndarray:
  if np.ma.isMaskedArray(values):
    return np.where(np.ma.getmaskarray(values), None, values.data.astype(object))
  if isinstance(values, np.ndarray):
    return values
  if hasattr(values, 'to_pylist'):  # pyarrow
    values = values.to_pylist()
  elif hasattr(values, 'to_numpy'):
    values = values.to_numpy()  # of the values: an index of pandas would pair rows anew
  if isinstance(values, np.ndarray) or hasattr(values, '__array__'):
    return np.asarray(values)
  try:
    rows = list(values)
  except TypeError:
    raise UserError(f'{where}: is a {type(values).__name__}; expected a list or array, one label an image.') from None
  if rows and all(isinstance(row, list | tuple | np.ndarray) for row in rows):
    try:
      return np.asarray(rows)
    except ValueError:  # ragged
      pass
  array = np.empty(len(rows), object)  # NumPy would make text of numbers beside text
  array[:] = rows
  return array


def cell(value: Any, where: str, place: str) -> str | None:
  """Returns one label as text, None where it is missing."""
  if isinstance(value, np.generic):
    value = value.item()
  if value is None or type(value).__name__ in ('NAType', 'NaTType') or (isinstance(value, float) and math.isnan(value)):
    return None
  if isinstance(value, bytes):
    value = value.decode(errors='replace')
  if isinstance(value, bool | int) and value.bit_length() <= 64:
    return f'{value:d}'
  if isinstance(value, float):
    return f'{value:.0f}' if value.is_integer() else repr(value)
  if isinstance(value, str):
    return plain(value) or None
  if getattr(value, 'shape', None) == ():  # an array of one value
    return cell(value.item(), where, place)
  if isinstance(value, list | tuple | np.ndarray) and len(value) == 1:
    return cell(value[0], where, place)
  shown = hex(value) if isinstance(value, int) else repr(value)  # Python writes no integer of 5,000 digits
  raise UserError(f'{where}: {place} holds {cut(shown)}; expected one label an image.')


def one_hot(array: np.ndarray, where: str, rows: list[str], names: list[str] | None) -> Column:
  """Returns the column that one-hot rows [N, C] stand for; a row of zeros has no label."""
  shown = f'{where}: has shape {array.shape}'
  try:
    values = array.astype(np.float64)
  except (TypeError, ValueError):
    raise UserError(f'{shown}; expected one label an image, or one-hot rows of 0 and 1.') from None
  wrong = np.flatnonzero(~np.isin(values, (0, 1)).all(1) | ~values.any())
  if len(wrong):
    near = np.abs(values.sum(1) - 1).max() < 5e-3
    hint = ' If these are probabilities, they are `probs` and not labels.' if near else ''
    raise UserError(
      f'{shown}, and {rows[wrong[0]]} is {values[wrong[0]][:LISTED].tolist()}; expected one label an image, or one-hot '
      f'rows of 0 and 1.{hint}'
    )
  wrong = np.flatnonzero(values.sum(1) > 1)
  if len(wrong):
    raise UserError(
      f'{shown}, and {rows[wrong[0]]} has {int(values[wrong[0]].sum())} ones ({len(wrong)} such rows): several labels '
      'an image; expected one.'
    )
  names = [str(c) for c in range(array.shape[1])] if names is None else names
  cells = [names[c] if any_ else None for c, any_ in zip(values.argmax(1).tolist(), values.any(1).tolist())]
  return Column(where, cells, rows)


def class_names(columns: Iterable[Column], unlabeled: str, wanted: Sequence[Any] = ()) -> tuple[str, ...]:
  """Returns the classes that all columns together speak of: the numbers by value, or the names as text.

  Args:
    columns: what may name classes: given and verified labels, never the truth.
    unlabeled: the word for "no label"; -1 means it too.
    wanted: the classes as a person declared them, which go before what the columns hold; () = none did.

  Raises:
    UserError: for names beside numbers (naming a row of both), a number below -1 or with a fraction; for a declared
      name that comes twice or means "no label".
  """
  if len(wanted):
    return _declared(wanted, unlabeled)
  first: dict[str, tuple[Column, int]] = {}
  for column in columns:
    for row, text in enumerate(column.labels):
      if text is not None:
        first.setdefault(text, (column, row))
  texts = [text for text in first if not _means_none(text, unlabeled)]
  numbers = {text: found for text in texts if (found := number(text)) is not None}
  names = [text for text in texts if text not in numbers]
  if numbers and all(name.lower() in _NAN for name in names):
    names = []
  fractions = [name for name in names if _FLOAT.fullmatch(name)]
  for text in fractions or [text for text, value in numbers.items() if value.startswith('-')]:
    column, row = first[text]
    raise column.error(
      [row], 'an integer of 0 or more, -1 (unlabeled) or a name; if it is a name, list all names in data.classes'
    )
  if names and numbers:
    (a, i), (b, j) = first[names[0]], first[next(iter(numbers))]
    raise UserError(
      f'{a.where}: {a.places[i]} is the name {cut(a.labels[i])!r}, and {b.where}: {b.places[j]} the number '
      f'{cut(b.labels[j])!r}; expected names or numbers, not both. If both are names of classes, list all names in '
      'data.classes; if the numbers are places in a list of names, list these there.'
    )
  return in_order(set(numbers.values()) if numbers else names)


def _declared(wanted: Sequence[Any], unlabeled: str) -> tuple[str, ...]:
  names = tuple(cell(name, 'data.classes', f'name {i}') or '' for i, name in enumerate(wanted))
  meant = [number(name) or name for name in names]
  if twice := [name for name, meaning in zip(names, meant) if meant.count(meaning) > 1]:
    raise UserError(f'data.classes: {listed(names)}: {twice[0]!r} comes twice; expected every name once.')
  if blank := [name for name in names if _means_none(name, unlabeled)]:
    raise UserError(
      f'data.classes: {listed(names)}: {blank[0]!r} means no label (data.unlabeled={unlabeled!r}, and -1), so no class '
      'can be called so.'
    )
  return names


def _means_none(text: str, unlabeled: str) -> bool:
  value, word = number(text), plain(unlabeled)
  return text == word or value == '-1' or (value is not None and value == number(word))


def indices(column: Column, classes: Sequence[str], unlabeled: str) -> np.ndarray:
  """Returns a column's labels as int32 [N] into `classes`; a missing label, `unlabeled` and -1 become -1.

  A label is the name of a class. Where no class is called by a number, a column of numbers alone means positions in
  `classes`; where one is, a number is a name and nothing else.

  Raises:
    UserError: naming the rows of labels that are neither.
  """
  names = {plain(name): c for c, name in enumerate(classes)}
  valued = {value: c for name, c in names.items() if (value := number(name)) is not None}
  texts = set(column.labels) - {None}
  blank = {text for text in texts - set(names) if _means_none(text, unlabeled)}
  known = dict.fromkeys([None, *blank], -1)
  known |= {text: names.get(text, valued.get(number(text))) for text in texts - blank}
  if all(number(text) or text.lower() in _NAN for text in texts - blank):
    known |= {text: -1 for text in texts - set(names) if text.lower() in _NAN}  # a number that is missing
    if not valued:
      positions = {str(c): c for c in range(len(classes))}
      known |= {text: positions.get(number(text)) for text in texts if known[text] is None}
  if wrong := [row for row, text in enumerate(column.labels) if known[text] is None]:
    raise column.error(wrong, _expected(column, wrong, known, classes, unlabeled))
  return np.array([known[text] for text in column.labels], np.int32)


def _expected(column: Column, wrong: list[int], known: dict, classes: Sequence[str], unlabeled: str) -> str:
  """Returns what was expected in the place of a label that is no class."""
  text = column.labels[wrong[0]]
  expected = f'a class of {listed(classes)}, or {unlabeled or "nothing"!r} or -1 where there is no label'
  if number(text) is None:
    near = difflib.get_close_matches(text, [*classes, unlabeled], n=1)
    return expected + (f' (did you mean {near[0]!r}?)' if near else '')
  if any(map(number, classes)):
    return f'{expected} (a number is a name here, and no position)'
  for place, other in zip(column.places, column.labels):
    if known[other] not in (None, -1) and number(other) is None:
      return f'{expected}: names or numbers, not both ({place} is {other!r})'
  values = {number(text) for text in column.labels if text is not None}
  one_based = values - {'-1'} == {str(c + 1) for c in range(len(classes))}
  return f'a position in 0..{len(classes) - 1}, {expected}' + (' (they run from 1: subtract 1)' if one_based else '')


def missing_note(column: Column, unlabeled: str, apart: Iterable[int] = ()) -> list[str]:
  """Returns a sentence about the rows that have no value, none where nothing is the sign of "no label".

  Args:
    apart: rows that are not meant.
  """
  apart = set(apart)
  rows = [i for i, text in enumerate(column.labels) if text is None and i not in apart]
  if not rows or not unlabeled:
    return []
  count = '1 row has no value and counts' if len(rows) == 1 else f'{len(rows)} rows have no value and count'
  return [f'{column.where}: {count} as unlabeled, the first is {column.places[rows[0]]}.']


def position_note(column: Column, classes: Sequence[str]) -> list[str]:
  """Returns a sentence that says what the numbers of a column stand for, none where they are names of classes."""
  values = {number(text) for text in column.labels if text is not None} - {'-1'}
  if not values or None in values or any(map(number, classes)):
    return []
  shown = listed(f'{i} = {name}' for i, name in enumerate(classes))
  return [f'{column.where}: its numbers are positions in the order of the classes: {shown}.']


def class_notes(labels: np.ndarray, classes: Sequence[str], unlabeled: str) -> list[str]:
  """Returns what a person should know of the classes: names that look like slips, and classes of one image.

  Args:
    labels: int [N], -1 = unlabeled.
  """
  counts = np.bincount(labels[labels >= 0], minlength=len(classes))
  notes, alike = [], {}
  for name in classes:
    alike.setdefault(re.sub(r'[\s_-]+', '', name.casefold()), []).append(name)
  for group in alike.values():
    if len(group) > 1:
      notes.append(f'The classes {" and ".join(map(repr, group[:LISTED]))} differ in case, spaces or dashes only.')
  word = plain(unlabeled).casefold()
  for name, count in zip(classes, counts):
    near = difflib.SequenceMatcher(None, name.casefold(), word).ratio() > 0.84
    if near or name.casefold() in (*_NO_LABEL, *_NAN):
      notes.append(
        f'The class {name!r} ({count} images) reads like "no label", which is {unlabeled!r} here; if it means that, '
        f'set data.unlabeled={name}.'
      )
  if parts := [name for name in classes if name.casefold() in _PARTS]:
    notes.append(f'Classes are called {listed(parts)}: are these parts of the data set, and no classes?')
  ones = [name for name, count in zip(classes, counts) if count == 1]
  if len(ones) >= LISTED and 2 * len(ones) > len(classes):
    notes.append(f'{len(ones)} of {len(classes)} classes have one image each: are the labels names of images?')
  elif ones:
    notes.append(f'One image alone has {"each of the labels" if ones[1:] else "the label"} {listed(map(repr, ones))}.')
  values = [number(name) for name in classes]
  if None not in values and values != [str(c) for c in range(len(classes))]:
    notes.append(
      f'The class numbers are not 0..{len(classes) - 1} but {listed(classes)}: each is the name of a class, in this '
      'order.'
    )
  return notes
