"""One command at a time in a folder: `train`, `sweep`, `kfold`, `find`, `inspect` and `report` hold its lock.

The lock is the kernel's (flock) on a file named "lock", which stays empty: it dies with the process, however that ends.
The file is opened, never followed as a link and never truncated or written, so that whatever lies there is left alone.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError

NAME = 'lock'
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def held(*folders: str | os.PathLike, make: bool = True) -> Iterator[None]:
  """Holds the folders until the block ends.

  Args:
    folders: one named twice is held once.
    make: makes a folder that is missing. False, for who reads: a missing folder is left to the caller, and one that is
      read-only needs no lock.
  Raises:
    UserError: a folder in use by another process (with its number, where the system tells it), or that takes no lock.
  """
  with contextlib.ExitStack() as stack:
    for folder in {os.path.realpath(f): Path(f) for f in folders}.values():
      if (file := _opened(folder, make)) is not None:
        stack.callback(os.close, file)
        _take(file, folder)
    yield


def _opened(folder: Path, make: bool) -> int | None:
  """Returns the lock file's descriptor; None where there is nothing to hold."""
  try:
    if make:
      folder.mkdir(parents=True, exist_ok=True)
    elif not folder.is_dir():
      return None
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(folder / NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | safe, 0o666)
  except OSError as error:
    if error.errno == errno.ELOOP:
      raise UserError(f'{folder / NAME}: is a link; expected the lock file of this folder. Remove the link.') from None
    if error.errno in _READ_ONLY and not make:
      return None
    raise UserError(f'{folder}: cannot use this workdir: {error.strerror or error}.') from error
  if not stat.S_ISREG(os.fstat(file).st_mode):
    os.close(file)
    raise UserError(f'{folder / NAME}: is no regular file; expected the lock file of this folder. Remove it.')
  return file


def _take(file: int, folder: Path) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    pid = holder(file)
    who = f'process {pid}' if pid else 'another process'
    raise UserError(f'{folder}: in use by {who}; wait for it, or choose another workdir.') from None
  except OSError as error:  # a file system without locks
    raise UserError(f'{folder}: cannot lock this workdir: {error.strerror or error}.') from error


def holder(file: int) -> int | None:
  """Returns the number of the process that holds an open file's lock, as Linux lists it; None where nothing does."""
  found = os.fstat(file)
  place = f'{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}'
  try:
    lines = Path('/proc/locks').read_text().splitlines()
  except OSError:
    return None
  words = (line.split() for line in lines)
  pids = (int(w[4]) for w in words if w[1:2] == ['FLOCK'] and w[5] == place)
  return next((pid for pid in pids if pid > 0), None)
