"""Progress of a run as lines of a log, where stderr is no terminal that shows a bar; and the time left."""

import sys
import time

from noisyjax.system.log import log

EVERY = 10.0  # seconds from line to line, at least


class Lines:
  """A line an epoch (or a fold) where stderr is no terminal: the first, then none sooner than EVERY after the last."""

  def __init__(self):
    self._silent = sys.stderr.isatty()
    self._next = -float('inf')

  def say(self, *parts: str) -> None:
    """Logs the parts that are not empty, as one line, if one is due."""
    now = time.monotonic()
    if not self._silent and now >= self._next:
      self._next = now + EVERY
      log.info('%s', ' · '.join(part for part in parts if part))


class Clock:
  """How long is left, by the mean time of the units (epochs, folds) so far."""

  def __init__(self):
    self._units: list[float] = []
    self._last = time.monotonic()

  def tick(self) -> float:
    """Notes the end of a unit; returns its seconds."""
    now = time.monotonic()
    seconds, self._last = now - self._last, now
    self._units.append(seconds)
    return seconds

  def left(self, units: float) -> str:
    """Returns "2:10 left" for so many units to come, "" for none; the first unit compiles and is left out early."""
    known = self._units[1:] or self._units
    return f'{duration(units * sum(known) / len(known))} left' if units > 0 and known else ''


def duration(seconds: float) -> str:
  """Returns seconds as m:ss or h:mm:ss."""
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}'
