"""How often something happens: '1 epoch', '500 steps', '10 percent' (of the phase), '60 seconds'."""

import math
import re
from fractions import Fraction

from noisyjax.system.errors import UserError


class Cadence:
  """Due whenever a multiple of `spec` has been passed since the last call; several passed at once count as one."""

  def __init__(self, spec: str, steps_per_epoch: int, total_steps: int):
    match = re.fullmatch(r'(\d+(?:\.\d+)?) (?:(step|epoch|second)s?|(percent))', str(spec).strip())
    if not match or not Fraction(match[1]):
      raise UserError(
        f"cadence: malformed value {spec!r}; expected such as '1 epoch', '500 steps', '10 percent', '60 seconds'."
      )
    unit = match[2] or match[3]
    size = {'step': 1, 'epoch': steps_per_epoch, 'percent': Fraction(total_steps, 100), 'second': 1}[unit]
    self._every, self._timed, self._turn = Fraction(match[1]) * size, unit == 'second', None

  def due(self, step: int, seconds: float) -> bool:
    """Asks after `step` steps of the phase (1, 2, …) and `seconds` of the run; a resumed run repeats no turn
    already taken."""
    turn = math.floor((seconds if self._timed else step) / self._every)
    if self._turn is None:  # the first call: one step was made since, and no time that we know of
      self._turn = turn if self._timed else math.floor((step - 1) / self._every)
    before, self._turn = self._turn, turn
    return turn > before
