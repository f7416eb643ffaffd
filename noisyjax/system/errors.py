"""The exceptions for mistakes of the user, and helpers for their messages."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
  """A mistake in the user's input. `launch.py` prints its message in one line, without a traceback, and exits with 2.

  The message names the file, row or field, the value found, the value expected, and what to do.
  """


class Diverged(UserError):
  """A loss, parameter or prediction is NaN or infinite. A sweep continues with its other points."""

  HINT = 'Try a smaller optim.lr, or optim.clip.'


def of_machine(error: BaseException) -> UserError | None:
  """Returns what an error of the machine means for the user: of a path, a device or memory; None for any other."""
  if isinstance(error, OSError):
    return UserError(f'{f"{error.filename}: " if error.filename else ""}{error.strerror or error}.')
  if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and 'RESOURCE_EXHAUSTED' in str(error)):
    return UserError(f'not enough memory ({" ".join(str(error).split())[:200]}).')
  return None


LISTED = 10  # maximum number of names in one message


def listed(names: Iterable[object]) -> str:
  """Returns comma-separated names for a line of a message: the first LISTED names, each cut to 60 characters."""
  texts = [one_line(str(name)) for name in names]
  return ', '.join(map(shortened, texts[:LISTED])) + (f' and {len(texts) - LISTED} more' if len(texts) > LISTED else '')


def one_line(text: str) -> str:
  """Returns a name with its line breaks as escapes such as "\\n", so that it does not break a line of a message."""
  return text.replace('\r', '\\r').replace('\n', '\\n')


def shortened(text: str) -> str:
  """Returns a text cut to at most 60 characters."""
  return text if len(text) <= 60 else text[:59] + '…'


def check_choice(field: str, value: str, choices: Iterable[str]) -> str:
  """Returns `value` if it is one of `choices`.

  Raises:
    UserError: `value` is not a choice; the message names the field, the closest choice and the first LISTED choices.
  """
  choices = sorted(choices)
  if value in choices:
    return value
  like = {choice.casefold(): choice for choice in choices}
  near = [like[name] for name in difflib.get_close_matches(str(value).casefold(), like, n=1, cutoff=0.5)]
  hint = f' Did you mean {near[0]!r}?' if near else ''
  raise UserError(f'{field}: unknown value {value!r}.{hint} Choices: {listed(choices)}.')
