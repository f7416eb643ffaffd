"""PyTorch's `.pth` and `.pt` files, read without PyTorch and without running what they hold.

Both forms hold a pickle, which is a program: it may name any function and call it. The unpickler here knows a handful
of names (dictionaries, tensors, storages), answers them itself, and refuses every other name before anything is called.

* Since PyTorch 1.6: a zip with `…/data.pkl` and one stored file `…/data/KEY` a storage.
* Before: a magic number, a protocol, facts of the writing system and the objects, each a pickle, then the storages.
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
  """A name or a structure that a file of weights has no need of."""


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
  """A run of numbers in the file.

  Attributes:
    key: its name there.
    dtype: of the numbers.
    count: how many the pickle says there are.
  """

  key: str
  dtype: np.dtype
  count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
  """A view of a storage, which is read once the pickle has been understood.

  Attributes:
    storage: what it looks at.
    offset: of its first number.
    shape: of the tensor.
    strides: in numbers.
  """

  storage: Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


def read(path: Path) -> Any:
  """Returns what the file holds: dictionaries, lists, tuples, text and numbers, with an array for each tensor.

  Raises:
    UserError: a file that is damaged, or that names what is no tensor, dictionary or number.
  """
  try:
    with path.open('rb') as file:
      zipped = file.read(2) == b'PK'
      file.seek(0)
      return _zip(file) if zipped else _legacy(file)
  except Refused as error:
    raise UserError(
      f'{path}: {error}. Only tensors, dictionaries, lists and numbers are read, and nothing was run; expected a state '
      'dict, as torch.save(model.state_dict(), …) writes.'
    ) from None
  except Exception as error:  # a damaged pickle fails in any way
    raise UserError(
      f'{path}: cannot be read as weights of PyTorch ({type(error).__name__}: {error}). Is the file complete?'
    ) from error


def _zip(file: IO[bytes]) -> Any:
  with zipfile.ZipFile(file) as archive:
    (pickled,) = [name for name in archive.namelist() if name.rpartition('/')[2] == 'data.pkl']
    root = pickled.removesuffix('data.pkl')
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
      raise Refused('holds compressed parts, which PyTorch does not write')
    if f'{root}byteorder' in archive.namelist() and archive.read(f'{root}byteorder') != b'little':
      raise Refused('was written by a big-endian machine')
    found = _Unpickler(io.BytesIO(archive.read(pickled))).load()
    return _resolved(found, lambda storage: archive.read(f'{root}data/{storage.key}'))


def _legacy(file: IO[bytes]) -> Any:
  magic, protocol, system = (_Unpickler(file).load() for _ in range(3))
  if magic != _MAGIC or protocol != _PROTOCOL or not system['little_endian']:
    raise ValueError('its first numbers are not those of such a file')
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


class _Unpickler(pickle._Unpickler):  # Python's: in C's a few bytes can claim gigabytes for its table of memories
  """Reads pickles of tensors; see the module.

  Attributes:
    storages: those that it met, by key.
  """

  def __init__(self, file: IO[bytes]) -> None:
    super().__init__(file, encoding='utf-8')
    self.storages: dict[str, Storage] = {}

  def find_class(self, module: str, name: str) -> Any:
    if module == 'torch' and name in _STORAGES:
      return _STORAGES[name]
    if (module, name) not in _KNOWN:
      raise Refused(f'names {module}.{name}')
    return _KNOWN[module, name]

  def persistent_load(self, pid: Any) -> Storage:
    kind, dtype, key, _, count, *view = pid
    if kind != 'storage' or type(count) is not int or not isinstance(dtype, np.dtype) or any(view):
      raise Refused(f'refers to a {kind!r} of a kind that is not known')
    return self.storages.setdefault(key, Storage(key, dtype, count))


def _resolved(found: Any, content: Callable[[Storage], bytes]) -> Any:
  """Returns `found` with arrays in the place of tensors, and refuses what is no plain value."""
  numbers: dict[str, np.ndarray] = {}
  walked: dict[int, Any] = {}  # what occurs many times is walked once

  def array(tensor: Tensor) -> np.ndarray:
    storage, shape, strides = tensor.storage, tensor.shape, tensor.strides
    if storage.key not in numbers:
      numbers[storage.key] = np.frombuffer(content(storage), storage.dtype)
    flat = numbers[storage.key]
    if len(flat) != storage.count:
      raise ValueError(f'storage {storage.key} has {len(flat)} numbers instead of {storage.count}')
    whole = all(type(n) is int and n >= 0 for n in (tensor.offset, *shape, *strides)) and len(shape) == len(strides)
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, strides)) if whole and all(shape) else 0
    if not whole or last >= max(len(flat), 1) or math.prod(shape) > len(flat):  # more: one number seen many times
      raise ValueError(f'a tensor of shape {shape} reaches beyond its {len(flat)} numbers')
    steps = [step * flat.itemsize for step in strides]
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], shape, steps).copy()

  def walk(value: Any, depth: int = 0) -> Any:
    if depth > 20:
      raise Refused('nests its dictionaries more than 20 deep')
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
    raise Refused(f'holds a {type(value).__name__}')

  return walk(found)
