"""Reads PyTorch's `.pth` and `.pt` files without PyTorch and without executing code from them.

These files contain a pickle, which `system.pickles` reads; this file adds PyTorch's tensors and storages. A file may
hold NumPy arrays in place of tensors, as those of CIFAR-N do.

There are two formats:

* Since PyTorch 1.6: an uncompressed zip with `…/data.pkl` and one file `…/data/KEY` per storage.
* Before: pickles of a magic number, the protocol version, properties of the system, the objects and the list of
  storages, then the content of the storages.
"""

import dataclasses
import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from noisyjax.system import pickles
from noisyjax.system.pickles import Refused

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
  'DoubleStorage': np.dtype('<f8'),
  'FloatStorage': np.dtype('<f4'),
  'HalfStorage': np.dtype('<f2'),
  'BFloat16Storage': np.dtype(ml_dtypes.bfloat16),
  'LongStorage': np.dtype('<i8'),
  'IntStorage': np.dtype('<i4'),
  'ShortStorage': np.dtype('<i2'),
  'CharStorage': np.dtype('i1'),
  'ByteStorage': np.dtype('u1'),
  'BoolStorage': np.dtype('?'),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
  """A flat array of numbers in the file.

  Attributes:
    key: name of the storage in the file.
    dtype: type of the numbers.
    count: number of numbers, according to the pickle.
  """

  key: str
  dtype: np.dtype
  count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
  """A view of a storage; its numbers are read after the pickle.

  Attributes:
    storage: storage of the numbers.
    offset: index of the first number in the storage.
    shape: shape of the tensor.
    strides: strides of the tensor, counted in numbers.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def read(path: Path, expected: str = 'a state dict, as torch.save(model.state_dict(), …) writes it') -> Any:
  """Returns the content of a file: dictionaries, lists, tuples, text and numbers, with an array for each tensor.

  Args:
    path: the file.
    expected: the content that is expected, for messages.

  Raises:
    UserError: the file is damaged, or contains anything else.
  """
  with pickles.reading(path, 'a PyTorch file', expected), path.open('rb') as file:
    zipped = file.read(2) == b'PK'
    file.seek(0)
    return _zip(file) if zipped else _legacy(file)


def _zip(file: IO[bytes]) -> Any:
  with zipfile.ZipFile(file) as archive:
    (pickled,) = [name for name in archive.namelist() if name.rpartition('/')[2] == 'data.pkl']
    root = pickled.removesuffix('data.pkl')
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
      raise Refused('has compressed parts, which PyTorch does not write')
    if f'{root}byteorder' in archive.namelist() and archive.read(f'{root}byteorder') != b'little':
      raise Refused('was written on a big-endian machine')
    found = _Unpickler(io.BytesIO(archive.read(pickled))).load()
    return _resolved(found, lambda storage: archive.read(f'{root}data/{storage.key}'))


def _legacy(file: IO[bytes]) -> Any:
  magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
  if magic != _MAGIC or protocol != _PROTOCOL or not system['little_endian']:
    raise ValueError('it does not begin with the magic number of PyTorch')
  reader = _Unpickler(file)
  found, keys = reader.load(), _Unpickler(file).load()
  content = {}
  for key in keys:
    count = int.from_bytes(file.read(8), 'little')
    storage = reader.storages[key]
    if count != storage.count:
      raise ValueError(f'storage {key} has {count} numbers instead of {storage.count}')
    content[key] = file.read(count * storage.dtype.itemsize)
  return _resolved(found, lambda storage: content[storage.key])


def _rebuild_tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
  return Tensor(storage, offset, tuple(shape), tuple(strides))


_KNOWN: dict[tuple[str, str], Any] = (
  pickles.CONTAINERS
  | pickles.ARRAYS
  | {
    ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
    ('torch._utils', '_rebuild_parameter'): lambda tensor, *_: tensor,
  }
  | {('torch', name): dtype for name, dtype in _STORAGES.items()}
)


class _Unpickler(pickles.Unpickler):
  """Unpickles tensors, arrays and plain containers.

  Attributes:
    storages: key → storage, for all storages that the pickle refers to.
  """

  def __init__(self, file: IO[bytes]) -> None:
    super().__init__(file, _KNOWN, 'utf-8')
    self.storages: dict[str, Storage] = {}

  def persistent_load(self, pid: Any) -> Storage:
    kind, dtype, key, _, count, *view = pid
    if kind != 'storage' or type(count) is not int or not isinstance(dtype, np.dtype) or any(view):
      raise Refused(f'refers to {kind!r} in an unknown form')
    return self.storages.setdefault(key, Storage(key, dtype, count))


def _resolved(found: Any, content: Callable[[Storage], bytes]) -> Any:
  """Returns `found` with an array for each tensor.

  Args:
    found: the unpickled object.
    content: returns the bytes of a storage.

  Raises:
    Refused: `found` contains anything but tensors, containers, text and numbers, or is nested too deeply.
    ValueError: a tensor does not fit its storage.
  """
  numbers: dict[str, np.ndarray] = {}

  def array(tensor: Tensor) -> np.ndarray:
    storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
    if storage.key not in numbers:
      numbers[storage.key] = np.frombuffer(content(storage), storage.dtype)
    flat = numbers[storage.key]
    if len(flat) != storage.count:
      raise ValueError(f'storage {storage.key} has {len(flat)} numbers instead of {storage.count}')
    whole = all(type(n) is int and n >= 0 for n in (tensor.offset, *shape, *strides)) and len(shape) == len(strides)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, strides)) if whole and all(shape) else 0
    if not whole or last >= max(len(flat), 1) or math.prod(shape) > len(flat):  # more: overlapping views
      raise ValueError(f'a tensor of shape {shape} reaches beyond its {len(flat)} numbers')
    steps = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], shape, steps).copy()

  return pickles.plain(found, lambda value: array(value) if isinstance(value, Tensor) else None)
