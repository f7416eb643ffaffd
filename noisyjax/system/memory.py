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
  _glibc('malloc_trim', 0)


def return_large() -> None:
  """From now on, arrays of 512 KB and more go back to the operating system as soon as they are freed.

  Those that a run keeps of each of a million rows have 1 MB and more, come and go with each epoch and leave gaps: 300
  to 600 MB after four epochs. Each such array then costs new pages.
  """
  _glibc('mallopt', -3, 2**19)  # M_MMAP_THRESHOLD


def _glibc(name: str, *arguments: int) -> None:
  """Calls a function of glibc; does nothing where it is missing, as in other libraries."""
  if sys.platform == 'linux' and (function := getattr(ctypes.CDLL(None), name, None)):
    function(*arguments)
