"""Huge pages for large arrays: on Linux a training step takes a tenth to a third less time on the CPU.

XLA allocates its arrays in every step, and the system provides them in pages of 4 kB. glibc requests huge pages if
an environment variable says so when the program starts; other C libraries ignore the variable.
"""

import os
import sys


def ask() -> None:
  """Re-executes this program with huge pages, unless GLIBC_TUNABLES is set already. Call it before anything else."""
  if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
    os.execve(sys.executable, sys.orig_argv, os.environ | {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'})
