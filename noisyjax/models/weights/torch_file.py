"""Reads PyTorch's `.pth` and `.pt` files without PyTorch and without executing code from them.

These files contain a pickle, and a pickle can call arbitrary functions. The unpickler in this file accepts only a few
names (dictionaries, tensors, storages), which it implements itself. It refuses every other name before any call.

There are two formats:

* Since PyTorch 1.6: an uncompressed zip with `…/data.pkl` and one file `…/data/KEY` per storage.
* Before: pickles of a magic number, the protocol version, properties of the system, the objects and the list of
  storages, then the content of the storages.
"""

import collections
import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from noisyjax.system.errors import UserError

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


class Refused(Exception):
  """The file contains a name or a structure that weights do not need."""


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


def read(path: Path) -> Any:
  """Returns the content of a file: dictionaries, lists, tuples, text and numbers, with an array for each tensor.

  Raises:
    UserError: the file is damaged, or contains anything else.
  """
  try:
    with path.open('rb') as file:
      zipped = file.read(2) == b'PK'
      file.seek(0)
      return _zip(file) if zipped else _legacy(file)
  except Refused as error:
    raise UserError(
      f'{path}: {error}. Only tensors, dictionaries, lists and numbers are read, and no code was run; expected a state '
      'dict, as torch.save(model.state_dict(), …) writes it.'
    ) from None
  except Exception as error:  # a damaged pickle may raise any exception
    raise UserError(
      f'{path}: cannot be read as a PyTorch file ({type(error).__name__}: {error}). Check that the file is complete.'
    ) from error


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


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
  ('collections', 'OrderedDict'): collections.OrderedDict,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_parameter'): lambda tensor, *_: tensor,
}


class _Unpickler(pickle._Unpickler):  # Python's: C's memo can be made to allocate gigabytes by a few bytes
  """Unpickles tensors and plain containers; see the docstring of this module.

  Attributes:
    storages: key → storage, for all storages that the pickle refers to.
  """

  def __init__(self, file: IO[bytes]) -> None:
    super().__init__(file, encoding='utf-8')
    self.storages: dict[str, Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    if module == 'torch' and name in _STORAGES:
      return _STORAGES[name]
    if (module, name) not in _KNOWN:
      raise Refused(f'refers to {module}.{name}')
    return _KNOWN[module, name]

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
  walked: dict[int, Any] = {}  # id → result, so that shared objects are visited once

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

  def walk(value: Any, depth: int = 0) -> Any:
    if depth > 20:
      raise Refused('has containers nested more than 20 deep')
    if id(value) in walked:
      return walked[id(value)]
    if isinstance(value, Tensor):
      return walked.setdefault(id(value), array(value))
    if isinstance(value, dict):
      return walked.setdefault(id(value), {key: walk(each, depth + 1) for key, each in value.items()})
    if isinstance(value, list | tuple):
      return walked.setdefault(id(value), type(value)(walk(each, depth + 1) for each in value))
    if value is None or isinstance(value, bool | int | float | str):
      return value
    raise Refused(f'contains a {type(value).__name__}')

  return walk(found)
