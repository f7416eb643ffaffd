"""Large arrays in huge pages: on Linux a step takes a tenth to a third less time on the CPU.

XLA asks the system for its arrays anew in every step, and the system hands them out in pages of 4 kB. glibc asks for
huge ones if it is told to when the program starts; elsewhere nobody reads the wish.
"""

import os
import sys


def ask() -> None:
  """Starts this program anew with the wish, unless it was started with wishes of its own. Call it before all else."""
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.execve(sys.executable, sys.orig_argv, os.environ | {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'})
