"""Types, ranges and choices of config fields, for recipes, flags, sweeps and phases.

A field has the type of its default. The tables below hold the ranges, the choices, and the element types of lists that
are empty by default. Fields that are not listed accept numbers from 0 to LARGE; those of strategies and models accept
negative numbers too, and a strategy checks its own fields when it is built.
"""

import ast
import csv
import math
import numbers
import re
from typing import Any, NamedTuple

from noisyjax.system.errors import UserError, check_choice

LARGE = 2**31 - 1  # counters on the device are int32
SHOWN = 100  # maximum number of characters of a value in a message


class Range(NamedTuple):
  """A range of numbers.

  Attributes:
    low: smallest number.
    high: largest number.
    below: whether `high` itself is excluded.
  """

  low: float = 0
  high: float = LARGE
  below: bool = False

  def __contains__(self, number: Any) -> bool:
    return self.low <= number < self.high if self.below else self.low <= number <= self.high

  def __str__(self) -> str:
    if self.below:
      return f'at least {self.low:g} and below {self.high:g}'
    return f'at least {self.low:g}' if self.high >= 10**4 else f'from {self.low:g} to {self.high}'


SEED = Range(0, 2**32 - 1)
PART = Range(0, 1)
BELOW_ONE = Range(0, 1, below=True)
ANY = Range(-LARGE, LARGE)

RANGES = {
  'seed': SEED,
  'data.seed': SEED,
  'noise.seed': SEED,
  'epochs': Range(1, 10**6),
  'batch_size': Range(1, 10**6),
  'eval_batch_size': Range(1, 10**6),
  'steps_per_epoch': Range(-(10**6), 10**6),
  'per_call': Range(0, 10**4),
  'devices': Range(0, 10**6),
  'ema': BELOW_ONE,
  'optim.momentum': BELOW_ONE,
  'optim.b1': BELOW_ONE,
  'optim.b2': BELOW_ONE,
  'optim.layer_decay': Range(1e-6, 1),
  'schedule.peak': BELOW_ONE,
  'schedule.restart': Range(1e-6),
  'checkpoint.keep': Range(1, 10**6),
  'data.size': Range(0, 4096),
  'data.trusted': PART,
  'noise.rate': PART,
  'model.mean': ANY,
  'model.std': Range(1e-6),
}

# Ranges of the fields of strategies and models, by the last part of their names. A strategy declares further ranges
# itself (`unit_interval`, `estimable`).
SHARED_RANGES = {
  'dropout': BELOW_ONE,
  'width': Range(0.01, 100),
  'widths': Range(1, 2**14),
  'bins': Range(1, 256),
  'networks': Range(1, 64),
  'hidden': Range(1, 2**14),
  'projected': Range(1, 2**14),
  'ratio': Range(1, 1000),
}

CHOICES = {
  'model.dtype': ('float32', 'bfloat16'),
  'select': ('best', 'last'),
  'labels': ('', 'given', 'verified', 'both'),
  'stop.metric': ('val_loss', 'val_accuracy'),
  'data.fit': ('exact', 'crop', 'pad'),
  'data.channels': (1, 3),
  'data.val_labels': ('given', 'verified'),
  'data.trusted_by': ('given', 'true'),
  'data.test_labels': ('given', 'true', 'verified'),
}

# Element types of lists that are empty by default. Lists that are not named here (phases, noise.map) are checked by the
# code that uses them.
ELEMENTS = {'told': str, 'data.classes': str, 'model.mean': float, 'model.std': float}

NOUNS = {bool: 'true or false', int: 'a whole number', float: 'a finite number', str: 'text', tuple: 'a list'}


def converted(field: str, default: Any, found: Any) -> Any:
  """Converts a value, or the text of a flag, to the type of a field.

  A list may be written without brackets and quotes, `a,b,c`. Numbers in a list of names become text.

  Args:
    field: dotted name.
    default: default of the field.
    found: the value or text.

  Raises:
    ValueError: the value does not fit; its text says what was expected.
  """
  kind = type(default)
  if kind is tuple:
    values = _listed(found)
    if not isinstance(values, tuple | list):
      raise ValueError(f'a list such as {spelled(default) or "a,b,c"}')
    each = ELEMENTS.get(field) or (type(default[0]) if default else None)
    if each in (None, tuple):
      return _nested(values)
    try:
      return tuple(_scalar(each, value) for value in values)
    except ValueError:
      raise ValueError(f'a list, each element {NOUNS[each]}, such as {spelled(default) or _EXAMPLES[each]}') from None
  if kind not in NOUNS:
    return found
  try:
    return _scalar(kind, found)
  except ValueError:
    example = f' such as {spelled(default)}' if kind in (int, float) or default else ''
    raise ValueError(NOUNS[kind] + ('' if kind is bool else example)) from None


_EXAMPLES = {str: 'a,b,c', float: '0.5,0.5,0.5'}


def _scalar(kind: type, found: Any) -> Any:
  """Converts a value or text to bool, int, float or str; raises ValueError."""
  text = isinstance(found, str)
  if kind is bool:
    if text and found.strip().lower() in ('true', 't', '1', 'yes', 'false', 'f', '0', 'no'):
      return found.strip().lower() in ('true', 't', '1', 'yes')
    if not isinstance(found, bool):
      raise ValueError
    return found
  if kind is str:
    if isinstance(found, bool) or not (text or isinstance(found, numbers.Real)):
      raise ValueError
    found = str(found)
    if '\0' in found or not _encodes(found):
      raise ValueError
    return found
  if kind is int:
    if text and re.fullmatch(r'\s*[+-]?[0-9]{1,30}\s*', found):
      return int(found)
    if isinstance(found, bool) or not isinstance(found, numbers.Integral):
      raise ValueError
    return int(found)
  if isinstance(found, bool) or not (text or isinstance(found, numbers.Real)):
    raise ValueError
  try:
    number = float(found)
  except OverflowError:
    raise ValueError from None
  if not math.isfinite(number):
    raise ValueError
  return number


def _nested(found: Any, depth: int = 0) -> Any:
  """Returns nested data of types that JSON supports, with lists as tuples; raises ValueError."""
  if isinstance(found, tuple | list) and depth < 10:
    return tuple(_nested(value, depth + 1) for value in found)
  if isinstance(found, dict) and depth < 10:
    return {_scalar(str, name): _nested(value, depth + 1) for name, value in found.items()}
  kinds = [kind for kind in (bool, int, float, str) if isinstance(found, _ABSTRACT[kind])]
  if not kinds:
    raise ValueError(f'lists of names and numbers, found {shown(found)} among them')
  try:
    return _scalar(kinds[0], found)
  except ValueError:
    raise ValueError(f'finite numbers and text, found {shown(found)} among them') from None


_ABSTRACT = {bool: bool, int: numbers.Integral, float: numbers.Real, str: str}


def _encodes(text: str) -> bool:
  """Returns whether a text can be encoded in UTF-8."""
  try:
    text.encode()
  except UnicodeEncodeError:  # the command line had bytes that are not UTF-8
    return False
  return True


def _listed(found: Any) -> Any:
  """Parses the text of a list, in Python syntax or as `a,b,c`; returns values that are not text unchanged."""
  if not isinstance(found, str):
    return found
  text = found.strip()
  if re.search(r'[\'"({\[]', text):
    try:
      value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
      value = None  # the text is `a,b,c` with a bracket or apostrophe in a name
    if value is not None:
      return value if isinstance(value, tuple | list) else (value,)
    text = re.sub(r'^[(\[](.*)[)\]]$', r'\1', text, flags=re.DOTALL)
  try:
    (words,) = csv.reader([text.replace('\n', ' ')], skipinitialspace=True)
  except csv.Error:
    words = text.split(',')
  return tuple(word.strip() for word in words if word.strip())


def spelled(value: Any) -> str:
  """Returns a value as it is written after `--config.field=`, cut to SHOWN characters."""
  if isinstance(value, tuple | list):
    plain = all(isinstance(v, str) and not re.search(r'[\'"(){}\[\],]|^\s|\s$', v) for v in value)
    numeric = all(isinstance(v, numbers.Real) for v in value)
    more = ',…' if len(value) > 10 else ''
    text = ','.join(map(str, value[:10])) + more if plain or numeric else repr(tuple(value))
  else:
    text = str(value)
  return text if len(text) <= SHOWN else f'{text[:SHOWN]}…'


def shown(value: Any) -> str:
  """Returns the repr of a value for a message, cut to SHOWN characters."""
  try:
    text = repr(value)
  except (ValueError, RecursionError):  # for example an integer of thousands of digits
    text = f'a {type(value).__name__} that is too long to show'
  return text if len(text) <= SHOWN else f'{text[:SHOWN]}…'


def range_of(field: str) -> Range:
  """Returns the range of a field according to the tables of this module."""
  if field in RANGES:
    return RANGES[field]
  own = field.startswith(('strategy.', 'model.'))
  return SHARED_RANGES.get(field.rpartition('.')[2], ANY) if own else Range()


def check(field: str, value: Any) -> None:
  """Checks that a value, which has the type of its field, is one of the field's choices or in its range.

  Raises:
    UserError: it is not; the message names the field, the value, and the range or the choices.
  """
  if field in CHOICES:
    if value not in CHOICES[field]:
      check_choice(field, str(value), map(str, CHOICES[field]))
    return
  allowed = range_of(field)
  for number in value if isinstance(value, tuple) else (value,):
    if isinstance(number, int | float) and not isinstance(number, bool) and number not in allowed:
      expected = f'at most {allowed.high}' if number > allowed.high >= 10**4 else f'{allowed}'
      raise UserError(f'{field}: expected {expected}, found {shown(number)}.')
