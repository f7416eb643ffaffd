"""Ctrl-C and SIGTERM during training: the run stops at its next step; a second Ctrl-C exits immediately.

By default Python raises KeyboardInterrupt at an arbitrary point. If that point lies in a callback of the compiler, the
exception is swallowed and the run continues. Therefore the signal handler only records the request, and the training
loop checks for it.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from noisyjax.system.log import log

NAMES: dict[int, str] = {signal.SIGINT: 'Ctrl-C', signal.SIGTERM: 'SIGTERM'}


class Stopped(Exception):
  """A signal stopped the run, after it saved its state.

  Attributes:
    signal: number of the signal; the command exits with 128 + signal.
  """

  def __init__(self, message: str, number: int) -> None:
    super().__init__(message)
    self.signal = number


_request: int | None = None
_watching = False


def asked() -> int | None:
  """Returns the number of the signal received within the current `watched` block, or None."""
  return _request


def check(where: str, after: str) -> None:
  """Raises Stopped with the message "WHERE: stopped by Ctrl-C AFTER" if a signal has been received."""
  if _request is not None:
    raise stopped(where, after, _request)


def stopped(where: str, after: str, number: int) -> Stopped:
  """Returns the exception for a signal, which this process or another one of the run has received."""
  return Stopped(f'{where}: stopped by {NAMES[number]} {after}', number)


@contextlib.contextmanager
def watched() -> Iterator[None]:
  """Within this block, Ctrl-C and SIGTERM are recorded for `asked` and raise no exception.

  It has an effect in the main thread only. Blocks may be nested; inner blocks have no effect.
  """
  global _request, _watching
  if _watching or threading.current_thread() is not threading.main_thread():
    yield
    return
  # A signal that the process ignores (under nohup or as a background job) stays ignored.
  numbers = [number for number in NAMES if signal.getsignal(number) != signal.SIG_IGN]
  read, write = os.pipe()
  os.set_blocking(write, False)
  previous_handlers = {number: signal.signal(number, _requested) or signal.SIG_DFL for number in numbers}
  previous_fd = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
  listener = threading.Thread(target=_listen, args=(read,), daemon=True)
  listener.start()
  _watching = True
  try:
    yield
  finally:
    _request, _watching = None, False
    signal.set_wakeup_fd(previous_fd)
    for number, handler in previous_handlers.items():
      signal.signal(number, handler)
    os.close(write)  # ends the listener's loop
    listener.join()
    os.close(read)


def _requested(number: int, frame: object) -> None:
  """Signal handler: records the first signal."""
  global _request
  _request = _request or number


def _listen(pipe: int) -> None:
  """Responds to Ctrl-C immediately, while the main thread may be in the compiler for up to a minute.

  The first Ctrl-C logs a message, the second ends the process.
  """
  presses = 0
  while numbers := os.read(pipe, 64):
    for _ in range(numbers.count(signal.SIGINT)):
      presses += 1
      if presses == 1:
        log.info('Ctrl-C: the run stops at its next step; press Ctrl-C again to exit immediately.')
      else:
        os._exit(128 + signal.SIGINT)
