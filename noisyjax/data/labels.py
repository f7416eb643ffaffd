"""Interprets the labels of a run: from cells of text to classes, and from classes to class numbers.

All columns of a run are interpreted together: "3.0" in one file and "3" in another are the same class, "10" follows
"2", and a mixture of names and numbers is an error, even if each file alone is consistent.
"""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from noisyjax.data.column import Column, column_of, is_decimal, label_text, number, plain
from noisyjax.system.errors import UserError, listed, shortened

NAN = ('nan', '<na>')  # missing numbers as NumPy and pandas write them
NO_LABEL = (  # names that often mean "no label"
  'unlabeled',
  'unlabelled',
  'undefined',
  'unknown',
  'none',
  'null',
  'na',
  'n/a',
  '?',
  '-',
  'unsure',
  'no label',
  'nolabel',
  'not labeled',
  'nil',
  'skip',
  'skipped',
  'todo',
  'tbd',
  'unclear',
  'not sure',
  "don't know",
  'dont know',
  'idk',
  '--',
  '–',
  '—',
  '??',
  '???',
)
# What a spreadsheet writes in place of the value of a formula: #N/A, #NV (German), #REF!, Err:508, ####.
_FORMULA = re.compile(r'#N/?[AVD]|#[^\W\d_a-z]+(?:/0)?[!?]|#{3,}|Err:\d+')


def in_order(names: Iterable[str]) -> tuple[str, ...]:
  """Returns the names sorted by value if all are numbers, otherwise as text."""
  names = list(names)
  numbers = [number(name) for name in names]
  if None in numbers:
    return tuple(sorted(names))
  value = lambda name: (-len(name), name) if name.startswith('-') else (len(name), name)
  return tuple(name for _, name in sorted(zip(numbers, names), key=lambda pair: value(pair[0])))


def class_names(columns: Iterable[Column], unlabeled: str, wanted: Sequence[Any] = ()) -> tuple[str, ...]:
  """Returns the classes that occur in all columns together: numbers sorted by value, or names sorted as text.

  Args:
    columns: columns of given and verified labels; never true labels.
    unlabeled: class name that means "unlabeled", as -1 does.
    wanted: classes that the user declared, which take precedence over those in the columns; () = none.

  Raises:
    UserError: there are both names and numbers, a number is below -1 or not an integer, or a declared name is repeated
      or means "unlabeled".
  """
  if len(wanted):
    return _declared(wanted, unlabeled)
  first: dict[str, tuple[Column, int]] = {}
  for column in columns:
    for row, text in enumerate(column.labels):
      if text is not None:
        first.setdefault(text, (column, row))
  texts = [text for text in first if not means_none(text, unlabeled)]
  if failed := [text for text in texts if _FORMULA.fullmatch(text)]:
    column, row = first[failed[0]]
    rows = [i for i, text in enumerate(column.labels) if text in failed]
    raise column.error(
      rows,
      f'a label: {failed[0]!r} is what a spreadsheet writes for a formula that failed. Correct it there; if it means '
      f'that there is no label, set data.unlabeled={_also(unlabeled, failed[0])}',
    )
  numbers = {text: found for text in texts if (found := number(text)) is not None}
  names = [text for text in texts if text not in numbers]
  if numbers and all(name.lower() in NAN for name in names):
    names = []
  fractions = [name for name in names if is_decimal(name)]
  for text in fractions or [text for text, value in numbers.items() if value.startswith('-')]:
    column, row = first[text]
    raise column.error(
      [row], 'an integer of 0 or more, -1 (unlabeled) or a name; if it is a name, list all names in data.classes'
    )
  if names and numbers:
    name, value = names[0], next(iter(numbers))
    (a, i), (b, j) = first[name], first[value]
    blank = next((name for name in names if name.casefold() in NO_LABEL), '')
    hint = f' If {blank!r} means that there is no label, set data.unlabeled={_also(unlabeled, blank)}.' if blank else ''
    raise UserError(
      f'{a.where}: {a.places[i]} is the name {shortened(name)!r}, and {b.where}: {b.places[j]} the number '
      f'{shortened(value)!r}; expected names or numbers, not both. If both are names of classes, list all names in '
      f'data.classes; if the numbers are places in a list of names, list these there.{hint}'
    )
  return in_order(set(numbers.values()) if numbers else names)


def _also(unlabeled: str, name: str) -> str:
  """Returns the value of `data.unlabeled` with another name, quoted for a shell."""
  return shlex.quote(','.join(filter(None, [unlabeled, name])))


def _declared(wanted: Sequence[Any], unlabeled: str) -> tuple[str, ...]:
  """Checks the declared class names and returns them."""
  names = tuple(label_text(name, 'data.classes', f'name {i}') or '' for i, name in enumerate(wanted))
  meant = [number(name) or name for name in names]
  if twice := [name for name, meaning in zip(names, meant) if meant.count(meaning) > 1]:
    raise UserError(f'data.classes: {listed(names)}: {twice[0]!r} comes twice; expected every name once.')
  if blank := [name for name in names if means_none(name, unlabeled)]:
    raise UserError(
      f'data.classes: {listed(names)}: {blank[0]!r} means no label (data.unlabeled={unlabeled!r}, and -1), so no class '
      'can be called so.'
    )
  return names


def categories(values: Any, unlabeled: str, count: int = 0) -> tuple[str, ...]:
  """Returns the classes that a categorical column of pandas or polars declares, in its order; () for other labels.

  Args:
    values: the labels.
    unlabeled: class name that means "unlabeled"; it is left out, as -1 is.
    count: of so many classes all are returned; otherwise those that occur, because a filtered frame keeps them all.
  """
  found = getattr(getattr(values, 'dtype', None), 'categories', None)
  if not hasattr(found, 'to_list'):
    return ()
  texts = dict.fromkeys(label_text(name, 'labels', 'a category') or '' for name in found.to_list())
  names = [text for text in texts if text and not means_none(text, unlabeled)]
  used = {*column_of(values, 'labels').labels}
  return tuple(name for name in names if len(names) == count or name in used)


def words(unlabeled: str) -> list[str]:
  """Returns the class names that mean "unlabeled": `data.unlabeled`, separated at commas."""
  return [plain(word) for word in unlabeled.split(',')]


def means_none(text: str, unlabeled: str) -> bool:
  """Returns whether a label means "unlabeled"."""
  value, none = number(text), words(unlabeled)
  return text in none or value == '-1' or (value is not None and value in map(number, none))


def indices(column: Column, classes: Sequence[str], unlabeled: str) -> np.ndarray:
  """Returns the labels of a column as indices into `classes`, int32 [N]; missing labels, `unlabeled` and -1 become -1.

  A label is the name of a class. If the name of no class is a number, a column that only has numbers holds positions in
  `classes`; otherwise numbers are names.

  Raises:
    UserError: labels are neither names of classes nor valid positions; the message lists the first rows.
  """
  names = {plain(name): c for c, name in enumerate(classes)}
  valued: dict[str | None, int] = {value: c for name, c in names.items() if (value := number(name)) is not None}
  texts = {text for text in column.labels if text is not None}
  blank = {text for text in texts - set(names) if means_none(text, unlabeled)}
  known: dict[str | None, int | None] = dict.fromkeys([None, *blank], -1)
  known |= {text: names.get(text, valued.get(number(text))) for text in texts - blank}
  if all(number(text) or text.lower() in NAN for text in texts - blank):
    known |= {text: -1 for text in texts - set(names) if text.lower() in NAN}  # a number that is missing
    if not valued:
      positions: dict[str | None, int] = {str(c): c for c in range(len(classes))}
      known |= {text: positions.get(number(text)) for text in texts if known[text] is None}
  if wrong := [row for row, text in enumerate(column.labels) if known[text] is None]:
    if not valued and not texts & set(names):  # positions, were it not for the names among them
      wrong = [row for row in wrong if number(column.labels[row] or '') is None] or wrong
    raise column.error(wrong, _expected(column, wrong, known, classes, unlabeled))
  return np.array([known[text] for text in column.labels], np.int32)


def _expected(column: Column, wrong: list[int], known: dict, classes: Sequence[str], unlabeled: str) -> str:
  """Returns the "expected …" part of the message for labels that are not classes."""
  text = column.labels[wrong[0]] or ''
  expected = f'a class of {listed(classes)}, or {unlabeled or "nothing"!r} or -1 where there is no label'
  if number(text) is None:
    if text.casefold() in NO_LABEL:
      return f'{expected} (if {text!r} means that, set data.unlabeled={_also(unlabeled, text)})'
    near = difflib.get_close_matches(text, [*classes, unlabeled], n=1)
    return expected + (f' (did you mean {near[0]!r}?)' if near else '')
  if any(map(number, classes)):
    return f'{expected} (a number is a name here, and no position)'
  for place, other in zip(column.places, column.labels):
    if other is not None and known[other] not in (None, -1) and number(other) is None:
      return f'{expected}: names or numbers, not both ({place} is {other!r})'
  values = {number(text) for text in column.labels if text is not None}
  one_based = values - {'-1'} == {str(c + 1) for c in range(len(classes))}
  return f'a position in 0..{len(classes) - 1}, {expected}' + (' (they run from 1: subtract 1)' if one_based else '')
