"""Ctrl-C and SIGTERM while networks train: the first is answered at the next step, a second Ctrl-C at once.

Python raises KeyboardInterrupt wherever it happens to be. Inside a callback of the compiler nobody passes it on, and
the run would go on to its end. So signals only leave a wish here, which the loop over steps looks for.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from noisyjax.log import log

NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}


class Stopped(Exception):
  """A person or the system asked to stop, and what could be saved was saved.

  Attributes:
    signal: its number; a command exits with 128 more.
  """

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.signal = number


_wish: int | None = None
_watching = False


def asked() -> int | None:
  """Returns the number of the signal that came while `watched`; None if none did."""
  return _wish


def check(where: str, after: str) -> None:
  """Raises Stopped if a signal came: "WHERE: stopped by Ctrl-C AFTER"."""
  if _wish is not None:
    raise Stopped(f'{where}: stopped by {NAMES[_wish]} {after}', _wish)


@contextlib.contextmanager
def watched() -> Iterator[None]:
  """While the block runs, Ctrl-C and SIGTERM raise nothing: `asked` tells. Only in the main thread; blocks may nest."""
  global _wish, _watching
  if _watching or threading.current_thread() is not threading.main_thread():
    yield
    return
  # A signal that is ignored (nohup, a background job) stays so.
  kinds = [number for number in NAMES if signal.getsignal(number) != signal.SIG_IGN]
  read, write = os.pipe()
  os.set_blocking(write, False)
  before = {number: signal.signal(number, _wished) or signal.SIG_DFL for number in kinds}
  earlier = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  listener = threading.Thread(target=_listen, args=(read,), daemon=True)
  listener.start()
  _watching = True
  try:
    yield
  finally:
    _wish, _watching = None, False
    signal.set_wakeup_fd(earlier)
    for number, handler in before.items():
      signal.signal(number, handler)
    os.close(write)  # which ends the listener
    listener.join()
    os.close(read)


def _wished(number: int, frame: object) -> None:
  global _wish
  _wish = _wish or number


def _listen(pipe: int) -> None:
  """Hears of signals at once, where the main thread may be in the compiler for a minute."""
  presses = 0
  while numbers := os.read(pipe, 64):
    for _ in range(numbers.count(signal.SIGINT)):
      presses += 1
      if presses == 1:
        log.info('Ctrl-C: stops at the next step; once more ends at once.')
      else:
        os._exit(128 + signal.SIGINT)
