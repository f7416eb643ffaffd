"""The memory of this process."""

import ctypes
import resource
import sys


def peak() -> int:
  """Returns the peak memory of this process in bytes."""
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release() -> None:
  """Returns freed memory to the operating system.

  glibc keeps the space of arrays of up to 32 MB. After a million rows were read and trained on, that is 200 MB, which
  the arrays that follow do not fit into.
  """
  if sys.platform == 'linux' and (trim := getattr(ctypes.CDLL(None), 'malloc_trim', None)):  # other libraries lack it
    trim(0)
