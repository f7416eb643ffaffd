"""An exclusive lock on a folder, so that only one command at a time writes to it.

The lock is a kernel lock (flock) on an empty file named "lock". The kernel releases it when the process ends, even
after a kill. The file is opened without following links, and is never truncated or written: an existing file of that
name keeps its content.

Of the JAX processes of one run, only the one that writes takes locks; the others would wait for it.
"""

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system import storage
from noisyjax.system.errors import UserError

NAME = 'lock'
_RETRY = 0.005  # seconds between two attempts to take a lock
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class InUse(UserError):
  """Another process, or another thread, holds the lock."""


@contextlib.contextmanager
def waited(folder: str | os.PathLike, seconds: float) -> Iterator[None]:
  """Holds the lock of a folder until the block ends; waits for it while another process has it for a moment.

  Args:
    folder: of the lock; it exists.
    seconds: how long to wait at most.

  Raises:
    InUse: the lock is still held after that time.
    UserError: the folder cannot be locked.
  """
  deadline = time.monotonic() + seconds
  with contextlib.ExitStack() as stack:
    while True:
      try:
        stack.enter_context(held(folder))
        break
      except InUse:
        if time.monotonic() > deadline:
          raise
        time.sleep(_RETRY)
    yield


@contextlib.contextmanager
def held(*folders: str | os.PathLike, make: bool = True) -> Iterator[None]:
  """Holds the locks of the folders until the block ends.

  Args:
    folders: a folder that is given more than once, under any name, is locked once.
    make: whether a missing folder is created. With False (for readers), missing and read-only folders are not locked.

  Raises:
    InUse: another process holds a lock; the message names its process id, if known.
    UserError: a folder cannot be locked.
  """
  with contextlib.ExitStack() as stack:
    for folder in {os.path.realpath(f): Path(f) for f in folders}.values() if storage.writes() else ():
      if (file := _opened(folder, make)) is not None:
        stack.callback(os.close, file)
        _take(file, folder)
    yield


def _opened(folder: Path, make: bool) -> int | None:
  """Opens the lock file and returns its descriptor; None if `make` is False and the folder is missing or read-only."""
  try:
    if make:
      folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
      return None
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(folder / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | safe, 0o666)
  except OSError as error:
    if error.errno == errno.ELOOP:
      raise UserError(f'{folder / NAME}: is a link; expected a regular file, the lock. Remove the link.') from None
    if error.errno in _READ_ONLY and not make:
      return None
    raise UserError(f'{folder}: cannot use this workdir: {error.strerror or error}.') from error
  if not stat.S_ISREG(os.fstat(file).st_mode):
    os.close(file)
    raise UserError(f'{folder / NAME}: is not a regular file; expected a regular file, the lock. Remove it.')
  return file


def _take(file: int, folder: Path) -> None:
  """Locks an open lock file without waiting; raises UserError if that fails."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    pid = holder(file)
    who = f'process {pid}' if pid else 'another process'
    raise InUse(f'{folder}: in use by {who}; wait for it, or choose another workdir.') from None
  except OSError as error:  # the file system does not support locks
    raise UserError(f'{folder}: cannot lock this workdir: {error.strerror or error}.') from error


def holder(file: int) -> int | None:
  """Returns the id of the process that holds the lock of an open file, from /proc/locks; None if it is unknown."""
  found = os.fstat(file)
  place = f'{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}'
  try:
    lines = Path('/proc/locks').read_text().splitlines()
  except OSError:
    return None
  words = (line.split() for line in lines)
  pids = (int(w[4]) for w in words if w[1:2] == ['FLOCK'] and w[5] == place)
  return next((pid for pid in pids if pid > 0), None)
