"""Reads pickles of plain data: NumPy arrays, dictionaries, lists, text and numbers. No code in them is run.

A pickle names functions and calls them, so a hostile one may run anything. The unpickler in this file admits only the
names of an allow-list, and each stands for a function of this package; every other name is refused before any call.
NumPy's own functions are not called either: arrays are built here from their type, shape and bytes, which are checked.
"""

import collections
import contextlib
import io
import math
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, ClassVar

import numpy as np

from noisyjax.system.errors import UserError

_CODES = re.compile(r'b1|[iu][1248]|f[248]|O8?|[SU]\d{1,4}')  # types of arrays: bool, numbers, objects, text
_DEEPEST = 20


class Refused(Exception):
  """The pickle contains a name or a structure that plain data do not need."""


class _Type:
  """Stands for `numpy.dtype`; its state gives the byte order.

  Attributes:
    dtype: type of the numbers.
  """

  def __init__(self, code: Any, *_: Any) -> None:
    if not isinstance(code, str) or not _CODES.fullmatch(code):
      raise Refused(f'has an array of type {code!r}')
    self.dtype = np.dtype(code)

  def __setstate__(self, state: Any) -> None:
    order, *structure = state[1:5]
    if order not in ('<', '>', '|') or any(part is not None for part in structure):
      raise Refused('has an array of a structured type')
    self.dtype = self.dtype.newbyteorder(order)


class _Array:
  """Stands for an array under construction; its state gives the content.

  Attributes:
    value: the array; that of an object array is unresolved.
  """

  value: np.ndarray

  def __setstate__(self, state: Any) -> None:
    _, shape, kind, fortran, content = state
    self.fill(content, kind, shape, 'F' if fortran else 'C')

  def fill(self, content: Any, kind: Any, shape: Any, order: str) -> None:
    """Sets the value from its bytes, or from a list of objects."""
    if not isinstance(kind, _Type) or not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
      raise Refused('has an array of an unknown form')
    count = math.prod(shape)
    if kind.dtype == object:
      if not isinstance(content, list) or len(content) != count:
        raise Refused('has an array of objects without a list of them')
      flat = np.empty(count, object)
      flat[:] = content
    else:
      content = content.encode('latin1') if isinstance(content, str) else content  # Python 2 wrote bytes as text
      if not isinstance(content, bytes) or len(content) != count * kind.dtype.itemsize:
        raise ValueError(f'an array of shape {shape} does not fit its bytes')
      flat = np.frombuffer(content, kind.dtype).copy()
    self.value = flat.reshape(shape, order='F' if order == 'F' else 'C')


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
  """Stands for the function that builds arrays in pickles of protocol 5."""
  array = _Array()
  array.fill(content, kind, shape, order)
  return array


def _scalar(kind: Any, content: Any) -> Any:
  """Stands for the function that builds NumPy's scalars."""
  return _from_buffer(content, kind, (), 'C').value.item()


def _encode(text: Any, codec: Any) -> bytes:
  """Stands for `_codecs.encode`, as which protocols 0 to 2 of Python 3 write bytes."""
  if not isinstance(text, str) or codec != 'latin1':
    raise Refused(f'encodes a {type(text).__name__} as {codec!r}')
  return text.encode('latin1')


def _no_bytes() -> bytes:
  """Stands for `bytes`, as a call of which the same protocols write no bytes at all."""
  return b''


CONTAINERS: dict[tuple[str, str], Callable[..., Any]] = {('collections', 'OrderedDict'): collections.OrderedDict}
ARRAYS: dict[tuple[str, str], Callable[..., Any]] = {
  ('numpy', 'dtype'): _Type,
  ('numpy', 'ndarray'): _Array,  # only an argument of _reconstruct
  ('_codecs', 'encode'): _encode,
  ('__builtin__', 'bytes'): _no_bytes,
} | {
  (f'numpy.{core}.{module}', name): function
  for core in ('core', '_core')
  for module, name, function in (
    ('multiarray', '_reconstruct', lambda *_: _Array()),
    ('multiarray', 'scalar', _scalar),
    ('numeric', '_frombuffer', _from_buffer),
  )
}


class Unpickler(pickle._Unpickler):  # Python's: C's memo can be made to allocate gigabytes by a few bytes
  """Unpickles plain containers and objects of the functions in `known`.

  Args:
    file: the pickle.
    known: (module, name) in the pickle → the function that is called for it.
    encoding: encoding of the byte strings of Python 2.
  """

  stack: list[Any]  # set by the class above, as are the next two
  append: Callable[[Any], None]
  read: Callable[[int], bytes]

  def __init__(self, file: IO[bytes], known: Mapping[tuple[str, str], Callable[..., Any]], encoding: str) -> None:
    super().__init__(file, encoding=encoding)
    self.known = known

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in self.known:
      raise Refused(f'refers to {module}.{name}')
    return self.known[module, name]

  def load_build(self) -> None:
    """Sets the state of an array or its type only: Python's would set attributes of any object."""
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, _Array | _Type):
      target.__setstate__(state)
    elif not isinstance(target, collections.OrderedDict):  # PyTorch stores the versions of its layers there
      raise Refused(f'sets the state of a {type(target).__name__}')

  def load_bytearray8(self) -> None:
    """Reads bytes, and no more than there are: Python's would first allocate what the pickle says."""
    self.append(self.read(int.from_bytes(self.read(8), 'little')))

  dispatch: ClassVar[Any] = pickle._Unpickler.dispatch | {
    pickle.BUILD[0]: load_build,
    pickle.BYTEARRAY8[0]: load_bytearray8,
  }


def load(data: bytes) -> Any:
  """Returns the content of a pickle of arrays and plain containers, whether Python 2 or 3 wrote it.

  Raises:
    Refused: the pickle contains anything else.
    Exception: the pickle is damaged; the type varies.
  """
  return plain(Unpickler(io.BytesIO(data), CONTAINERS | ARRAYS, 'latin1').load())


def plain(found: Any, convert: Callable[[Any], np.ndarray | None] = lambda _: None) -> Any:
  """Returns unpickled data with arrays in place of the objects that stand for them.

  Args:
    found: the unpickled object.
    convert: returns an array for an object that stands for one; None for others.

  Raises:
    Refused: there is anything but arrays, containers, text and numbers, or they are nested too deeply.
  """
  walked: dict[int, Any] = {}  # id → result, so that shared objects are visited once

  def walk(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST:
      raise Refused(f'has containers nested more than {_DEEPEST} deep')
    if value is None or isinstance(value, bool | int | float | str | bytes):
      return value
    if id(value) in walked:
      return walked[id(value)]
    if isinstance(value, _Array):
      made = value.value
      if made.dtype == object:
        made = np.empty(made.shape, object)
        made.reshape(-1)[:] = [walk(each, depth + 1) for each in value.value.reshape(-1).tolist()]
    elif isinstance(value, dict):
      made = {key: walk(each, depth + 1) for key, each in value.items()}
    elif isinstance(value, list | tuple):
      made = type(value)(walk(each, depth + 1) for each in value)
    elif (made := convert(value)) is None:
      raise Refused(f'contains a {type(value).__name__}')
    walked[id(value)] = made
    return made

  return walk(found)


@contextlib.contextmanager
def reading(where: object, what: str, expected: str) -> Iterator[None]:
  """Turns all exceptions of reading a pickle into a UserError.

  Args:
    where: the file, for messages.
    what: the expected file type, such as 'a pickle'.
    expected: the expected content.

  Raises:
    UserError: the block raised an exception.
  """
  try:
    yield
  except Refused as error:
    raise UserError(
      f'{where}: {error}. Only arrays, dictionaries, lists and numbers are read, and no code was run; expected '
      f'{expected}.'
    ) from None
  except UserError:
    raise
  except Exception as error:  # a damaged pickle may raise any exception
    said = 'it ends too early' if isinstance(error, EOFError) else f'{type(error).__name__}: {error}'
    raise UserError(f'{where}: cannot be read as {what} ({said}). Check that the file is complete.') from error
