"""Reads files of weights of all formats as a flat state dict: name → float32 array in PyTorch's layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from noisyjax.models.weights import safetensors_file, torch_file
from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError, listed

FORMATS: dict[str, Callable[[Path], Any]] = {
  '.pth': torch_file.read,
  '.pt': torch_file.read,
  '.safetensors': safetensors_file.read,
  '.npz': storage.read_npz,
}
_WRAPPERS = ('state_dict', 'model')  # keys under which training scripts store the weights
_SKIPPED = 'num_batches_tracked'  # a counter of PyTorch's batch norm that is not needed


def read(path: str | Path, where: str = 'model.weights') -> dict[str, np.ndarray]:
  """Returns name → float32 array.

  Args:
    path: path of a file in one of FORMATS.
    where: config field that names the file, for messages.

  Raises:
    UserError: the file does not exist, has another format, is damaged, contains anything but plain values, or contains
      no tensors.
  """
  path = reading.file_of(path, where)
  if path.suffix.lower() not in FORMATS:
    raise UserError(f'{where}: {path} ends in {path.suffix!r}; expected one of: {listed(FORMATS)}.')
  found = FORMATS[path.suffix.lower()](path)
  inner = [found[name] for name in _WRAPPERS if isinstance(found, dict) and isinstance(found.get(name), dict)]
  tensors = _tensors(str(path), inner[0] if inner else found)
  if not tensors:
    raise UserError(f'{path}: found no named tensors; expected a state dict.')
  return tensors


def _tensors(where: str, found: Any) -> dict[str, np.ndarray]:
  arrays = {name: a for name, a in found.items() if isinstance(a, np.ndarray)} if isinstance(found, dict) else {}
  names, tensors = {}, {}
  for name, array in arrays.items():
    if isinstance(name, str) and not name.endswith(_SKIPPED):
      bare = name.removeprefix('module.')  # the prefix that PyTorch's DataParallel adds
      if bare in names:
        raise UserError(f'{where}: holds both {names[bare]!r} and {name!r}; expected one of them.')
      names[bare], tensors[bare] = name, _float32(array, f'{where}: {name}')
  return tensors


def _float32(array: np.ndarray, where: str) -> np.ndarray:
  """Returns a tensor as float32; raises UserError if it holds no numbers, or numbers that are not finite."""
  if array.dtype.kind not in 'biuf' and array.dtype != ml_dtypes.bfloat16:
    raise UserError(f'{where} is an array of type {array.dtype}; expected numbers.')
  with np.errstate(over='ignore'):
    numbers = array.astype(np.float32)
  if wrong := np.count_nonzero(~np.isfinite(numbers)):
    raise UserError(
      f'{where}: {wrong} of {array.size} numbers are not finite in float32 (NaN or inf); expected weights.'
    )
  return numbers
