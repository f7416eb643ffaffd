"""Ctrl-C and SIGTERM while networks train: a run stops at its next step, and at once after a second Ctrl-C.

Python raises KeyboardInterrupt at any point. A callback of the compiler swallows it, and the run would go on to its
end. So the signal handler only records the request, and the training loop checks for it.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from noisyjax.system.log import log

NAMES = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}


class Stopped(Exception):
  """A person or the system asked to stop, and what could be saved was saved.

  Attributes:
    signal: its number; a command exits with 128 more.
  """

  def __init__(self, message: str, number: int):
    super().__init__(message)
    self.signal = number


_request: int | None = None
_watching = False


def asked() -> int | None:
  """Returns the number of the signal that came while `watched`; None if none did."""
  return _request


def check(where: str, after: str) -> None:
  """Raises Stopped if a signal came: "WHERE: stopped by Ctrl-C AFTER"."""
  if _request is not None:
    raise Stopped(f'{where}: stopped by {NAMES[_request]} {after}', _request)


@contextlib.contextmanager
def watched() -> Iterator[None]:
  """In this block Ctrl-C and SIGTERM raise nothing, and `asked` returns them. Main thread only; blocks may nest."""
  global _request, _watching
  if _watching or threading.current_thread() is not threading.main_thread():
    yield
    return
  # A signal that is ignored (nohup, a background job) stays so.
  kinds = [number for number in NAMES if signal.getsignal(number) != signal.SIG_IGN]
  read, write = os.pipe()
  os.set_blocking(write, False)
  before = {number: signal.signal(number, _requested) or signal.SIG_DFL for number in kinds}
  earlier = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  listener = threading.Thread(target=_listen, args=(read,), daemon=True)
  listener.start()
  _watching = True
  try:
    yield
  finally:
    _request, _watching = None, False
    signal.set_wakeup_fd(earlier)
    for number, handler in before.items():
      signal.signal(number, handler)
    os.close(write)  # which ends the listener
    listener.join()
    os.close(read)


def _requested(number: int, frame: object) -> None:
  global _request
  _request = _request or number


def _listen(pipe: int) -> None:
  """Answers signals at once, where the main thread may be in the compiler for a minute."""
  presses = 0
  while numbers := os.read(pipe, 64):
    for _ in range(numbers.count(signal.SIGINT)):
      presses += 1
      if presses == 1:
        log.info('Ctrl-C: stops at the next step; once more ends at once.')
      else:
        os._exit(128 + signal.SIGINT)
