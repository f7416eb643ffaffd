"""Merges two branches: row by row, what one side alone changed since they parted is taken."""

import numpy as np

from noisyjax.system.errors import UserError, check_choice, listed
from noisyjax.tables import edits as edits_
from noisyjax.tables.edits import ABSENT, Edits
from noisyjax.tables.rows import STATE, WHY, Rows, texts

SIDES = ('', 'ours', 'theirs')


def merged(base: Rows, ours: Rows, theirs: Rows, prefer: str = '') -> tuple[Edits, Rows | None]:
  """Returns the edits that bring their changes into our rows, and the rows that they added; None: there are none.

  Args:
    base: rows of the version that both come from.
    ours: rows of the branch that is merged into.
    theirs: rows of the other one.
    prefer: ours or theirs: whose state a row gets that both sides changed, differently; '': that is refused.

  Raises:
    UserError: both sides changed a row, differently, and neither is preferred.
  """
  check_choice('--prefer', prefer, SIDES)
  joined = ours.places(theirs.id) < 0
  added = Rows(**{name: getattr(theirs, name)[joined].copy() for name in edits_.ALL}) if joined.any() else None
  whole = edits_.grown(ours, added) if added else ours
  old, other = edits_.aligned(base, whole), edits_.aligned(theirs, whole)
  differ = lambda a, b: np.any([getattr(a, name) != getattr(b, name) for name in STATE], axis=0)
  news = differ(old, other) & differ(whole, other) & (other.status != ABSENT)
  both = np.flatnonzero(news & differ(old, whole))
  if len(both) and not prefer:
    raise UserError(
      f'{len(both)} rows were changed on both branches, differently: {listed(whole.name[both].tolist())}. Decide them '
      'again on one branch, or choose a side: --prefer=ours or --prefer=theirs.'
    )
  if prefer == 'ours':
    news[both] = False
  place = np.flatnonzero(news)
  columns = {name: getattr(other, name)[place] for name in (*STATE, *WHY) if name != 'version'}
  return Edits(id=whole.id[place], action=texts(['merge'] * len(place)), **columns), added
