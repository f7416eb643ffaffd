"""Files of weights, whatever their format, as one flat state dict: name → float32 array in PyTorch's layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.models.weights import safetensors_file, torch_file
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed


def _npz(path: Path) -> dict[str, np.ndarray]:
  with reading.reading(path, 'an .npz'), np.load(path, allow_pickle=False) as file:
    return {name: file[name] for name in file.files}


FORMATS: dict[str, Callable[[Path], Any]] = {
  '.pth': torch_file.read,
  '.pt': torch_file.read,
  '.safetensors': safetensors_file.read,
  '.npz': _npz,
}
_WRAPPERS = ('state_dict', 'model')  # under which training scripts keep the weights among other things
_SKIPPED = 'num_batches_tracked'  # a counter of PyTorch's batch norm, which nothing here reads


def read(path: str | Path, where: str = 'model.weights') -> dict[str, np.ndarray]:
  """Returns name → array; numbers of any width as float32.

  Args:
    path: of a file of one of FORMATS.
    where: the field that names it, for messages.
  Raises:
    UserError: no such file, another format, a damaged or hostile file, or one without tensors.
  """
  path = reading.file_of(path, where)
  if path.suffix.lower() not in FORMATS:
    raise UserError(f'{where}: {path} ends in {path.suffix!r}; expected one of: {listed(FORMATS)}.')
  found = FORMATS[path.suffix.lower()](path)
  inner = [found[name] for name in _WRAPPERS if isinstance(found, dict) and isinstance(found.get(name), dict)]
  tensors = _tensors(inner[0] if inner else found)
  if not tensors:
    raise UserError(f'{path}: holds no named tensors; expected a state dict.')
  return tensors


def _tensors(found: Any) -> dict[str, np.ndarray]:
  arrays = {name: a for name, a in found.items() if isinstance(a, np.ndarray)} if isinstance(found, dict) else {}
  return {
    name.removeprefix('module.'): np.asarray(array, np.float32)  # the prefix of networks spread over devices
    for name, array in arrays.items()
    if isinstance(name, str) and not name.endswith(_SKIPPED)
  }
