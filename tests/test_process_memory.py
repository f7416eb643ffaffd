"""What a process keeps of memory that it freed, in a process of its own."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc')

PROGRAM = """
import mmap
import sys
from pathlib import Path

import numpy as np

from noisyjax.system import memory

resident = lambda: int(Path('/proc/self/statm').read_text().split()[1]) * mmap.PAGESIZE / 2**20
if sys.argv[1] == 'return':
  memory.return_large()
large = np.ones(30 * 2**20, np.uint8)  # from now on glibc keeps arrays up to this size
del large
before = resident()
arrays = [np.ones(2**20 - i % 2 * 2**19, np.uint8) for i in range(400)]  # 1 MB, 512 KB, ...
behind = [np.ones(2**10, np.uint8) for _ in range(400)]
del arrays
print(round(resident() - before))
"""


def kept(what: str) -> int:
  """Returns the MB that a process keeps of 300 MB that it freed."""
  return int(subprocess.run([sys.executable, '-c', PROGRAM, what], capture_output=True, text=True, check=True).stdout)


def test_freed_arrays_go_back_although_others_lie_behind_them():
  assert kept('keep') > 200
  assert kept('return') < 30
