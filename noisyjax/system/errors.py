"""The one exception a user's mistake raises, and the sentence that helps to mend it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """A mistake in what the user gave: `launch.py` prints it in one line, without a traceback, and exits with 2.

  The message names the file, row or field, the value found, and what was expected.
  """


class Diverged(UserError):
  """A loss, parameter or prediction that is not finite; in a sweep the other points go on."""


LISTED = 10  # names in one message


def listed(names: Iterable[str]) -> str:
  """Returns names for a message, by commas; long ones are cut, and of more than LISTED the first are shown."""
  names = list(map(str, names))
  return ', '.join(map(cut, names[:LISTED])) + (f' and {len(names) - LISTED} more' if len(names) > LISTED else '')


def cut(text: str) -> str:
  """Returns a text of at most 60 characters for a message."""
  return text if len(text) <= 60 else text[:59] + '…'


def check_choice(field: str, value: str, choices: Iterable[str]) -> str:
  """Returns `value` if it is one of `choices`.

  Raises:
    UserError: naming the field, the nearest choice and ten of the choices.
  """
  choices = sorted(choices)
  if value in choices:
    return value
  near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  raise UserError(f'{field}: unknown value {value!r}.{hint} Choices: {listed(choices)}.')
