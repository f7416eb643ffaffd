"""What happens to the rows that the given labels do not list (`data.unlisted`)."""

from ml_collections import ConfigDict

from noisyjax.data import match
from noisyjax.data.column import Column
from noisyjax.data.label_notes import missing_note
from noisyjax.system.errors import UserError, check_choice


def left_out(given: Column | None, config: ConfigDict, what: str = 'images') -> tuple[set[int], list[str]]:
  """Applies `config.unlisted` to the rows that the given labels do not list.

  Args:
    given: given labels in the order of the rows, see `match.aligned`; None = there are none.
    config: `config.data`.
    what: what the rows are called in messages.

  Returns:
    The indices of rows to leave out, and notes for the user on missing labels.

  Raises:
    UserError: a row is not listed and `config.unlisted` is 'refuse'.
  """
  check_choice('data.unlisted', config.unlisted, ('unlabeled', 'skip', 'refuse'))
  if given is None:
    return set(), []
  without = match.without_row(given)
  notes = missing_note(given, config.unlabeled, without)
  if not without:
    return set(), notes
  text = (
    f'{given.where}: {len(without)} of {len(given.labels)} {what} have no row, the first is '
    f'{(given.images or ())[without[0]]!r}'
  )
  if config.unlisted == 'refuse':
    raise UserError(f'{text}; expected a row for each. Add them, or set data.unlisted=unlabeled or skip.')
  if config.unlisted == 'skip':
    return set(without), [*notes, f'{text}; they are left out (data.unlisted=skip).']
  return set(), [*notes, f'{text}; they count as unlabeled (data.unlisted=skip leaves them out).']
