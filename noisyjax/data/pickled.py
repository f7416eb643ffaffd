"""Reads pickled files of labels and images, as the CIFAR and CIFAR-N pages publish them, without running their code.

There are three kinds: pickles, PyTorch files, and .npy files of objects, which contain a pickle. `system.pickles` says
what is admitted.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import table
from noisyjax.models.weights import torch_file
from noisyjax.system import pickles, reading

_NPY = b'\x93NUMPY'
# The magic number of PyTorch before 1.6, as pickles of protocol 2 and later begin with it.
_LEGACY = re.compile(rb'\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c', re.DOTALL)


def is_pickled(path: Path) -> bool:
  """Returns whether a file is a pickle or contains one."""
  with reading.reading(path, 'labels', ''), path.open('rb') as file:
    start = file.read(512)
  if start.startswith(_NPY):
    return b"'|O'" in start.partition(b'\n')[0]
  return table.is_pickle(path.read_bytes() if start.startswith(b'PK') else start)


def read(path: Path, expected: str) -> Any:
  """Returns the content of a pickled file: arrays, dictionaries, lists, text and numbers.

  Args:
    path: the file.
    expected: the content that is expected, for messages.

  Raises:
    UserError: the file is damaged, or contains anything else.
  """
  with pickles.reading(path, 'a pickle', expected):
    data = path.read_bytes()
    if data.startswith(b'PK') or _LEGACY.match(data):
      return torch_file.read(path, expected)
    if not data.startswith(_NPY):
      return pickles.load(data)
    with path.open('rb') as file:
      version = np.lib.format.read_magic(file)
      header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
      header(file)
      found = pickles.load(file.read())
    return found.item() if isinstance(found, np.ndarray) and found.shape == () else found
