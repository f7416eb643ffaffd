"""The one exception a user's mistake raises, and the sentence that helps to mend it."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """A mistake in what the user gave: `launch.py` prints it in one line, without a traceback, and exits with 2.

  The message names the file, row or field, the value found, and what was expected.
  """


class Diverged(UserError):
  """A loss or a parameter left the numbers: the settings are at fault, and other settings may do."""


def listed(names: Iterable[str], most: int = 10) -> str:
  """Returns names for a message, by commas; beyond `most` they are cut and counted."""
  names = list(map(str, names))
  return ', '.join(names[:most]) + (f', … ({len(names)} in all)' if len(names) > most else '')


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
