"""Progress of a run as log lines, for when stderr is not a terminal and shows no progress bar; and the time left."""

import sys
import time

from noisyjax.system.log import log

EVERY = 10.0  # minimum number of seconds between lines


class Lines:
  """Logs one line per epoch or fold, at most one every EVERY seconds; silent if stderr is a terminal."""

  def __init__(self) -> None:
    self._silent = sys.stderr.isatty()
    self._next = -float('inf')

  def say(self, *parts: str) -> None:
    """Logs the non-empty parts as one line, if EVERY seconds have passed since the previous line."""
    now = time.monotonic()
    if not self._silent and now >= self._next:
      self._next = now + EVERY
      log.info('%s', ' · '.join(part for part in parts if part))


class Clock:
  """Estimates the time left from the mean duration of the units (epochs or folds) so far."""

  def __init__(self) -> None:
    self._units: list[float] = []
    self._last = time.monotonic()

  def tick(self) -> float:
    """Records the end of a unit and returns its duration in seconds."""
    now = time.monotonic()
    seconds, self._last = now - self._last, now
    self._units.append(seconds)
    return seconds

  def left(self, units: float) -> str:
    """Returns text such as "2:10 left" for the remaining `units`, "" if there are none or nothing has been timed.

    The first unit includes compilation and is ignored as soon as there is another one; until then it is a bound.
    """
    known = self._units[1:] or self._units
    bound = 'at most ' if len(self._units) == 1 else ''
    return f'{bound}{duration(units * sum(known) / len(known))} left' if units > 0 and known else ''


def duration(seconds: float) -> str:
  """Returns seconds as m:ss or h:mm:ss."""
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
