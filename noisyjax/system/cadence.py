"""Recurring events, given as text: '1 epoch', '500 steps', '10 percent' (of the phase) or '60 seconds'."""

import math
import re
from fractions import Fraction

from noisyjax.system.errors import UserError


class Cadence:
  """Decides at each step whether an event is due.

  An event is due if at least one multiple of `spec` has been passed since the previous call; several multiples passed
  in one call count as one event.

  Args:
    spec: the interval, such as '1 epoch'.
    steps_per_epoch: steps in one epoch of the phase.
    total_steps: steps in the phase.

  Raises:
    UserError: `spec` is malformed.
  """

  def __init__(self, spec: str, steps_per_epoch: int, total_steps: int) -> None:
    match = re.fullmatch(r'(\d+(?:\.\d+)?) (?:(step|epoch|second)s?|(percent))', str(spec).strip())
    if not match or not Fraction(match[1]):
      raise UserError(
        f'cadence: malformed value {spec!r}; expected a number greater than 0 and a unit, '
        "for example '1 epoch', '500 steps', '10 percent' or '60 seconds'."
      )
    unit = match[2] or match[3]
    size = {'step': 1, 'epoch': steps_per_epoch, 'percent': Fraction(total_steps, 100), 'second': 1}[unit]
    self._every, self._timed = Fraction(match[1]) * size, unit == 'second'
    self._turn: int | None = None

  def due(self, step: int, seconds: float) -> bool:
    """Returns whether the event is due. A resumed run does not repeat an event that took place before it stopped.

    Args:
      step: steps completed in the phase: 1, 2, ….
      seconds: seconds since the run started.
    """
    turn = math.floor((seconds if self._timed else step) / self._every)
    before, self._turn = self._turn, turn
    if before is None:  # first call: assume that one step, and no known time, has passed since the previous one
      before = turn if self._timed else math.floor((step - 1) / self._every)
    return turn > before
