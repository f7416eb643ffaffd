"""oneDNN's convolution, input gradient and weight gradient as JAX operations on CPUs.

The kernels that PyTorch trains with on x86, as fast as XLA's or up to 7 times as fast (benchmarks/README.md).
The library is the PyPI package `onednn-cpu-gomp`, reached through its C interface (oneapi/dnnl/dnnl.h, version 3).

Images stay as JAX has them, [B, H, W, C]; kernels are brought into the order that oneDNN likes best, which is a small
matter beside the convolution. What a call needs is made when it is traced, and found by its text when it runs, so
that a program from the compilation cache finds it too.
"""

import ctypes
import functools
import importlib.metadata
import json
import os
import queue
import threading
from collections.abc import Callable, Sequence
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.typing import DTypeLike

from noisyjax.models.layers import ffi
from noisyjax.models.layers.geometry import Geometry, outputs
from noisyjax.system import compile_cache
from noisyjax.system.errors import UserError

PACKAGE, LIBRARY = 'onednn-cpu-gomp', 'libdnnl.so.3'
_NAME = 'noisyjax_onednn'  # of the calls in XLA's programs
# Of the processor, for bfloat16: with AVX-512 alone slow, with avx512_bf16 or AMX fast.
BFLOAT16_NEEDS = {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'}

# Numbers of dnnl_types.h.
_CPU, _IN_ORDER, _DIRECT, _TRAINING, _ANY_ORDER, _OWN_MEMORY = 1, 1, 1, 64, 1, c_void_p(-1)
_DTYPES = {'bfloat16': 2, 'float32': 3}
Lay = tuple[tuple[int, ...], tuple[int, ...]]  # how an array lies: its sizes, and how far apart its numbers are
_X, _KERNEL, _Y = range(3)
_ORDER = {  # operands, and what is written
  'convolve': (_X, _KERNEL, _Y),
  'input_gradient': (_Y, _KERNEL, _X),
  'kernel_gradient': (_X, _Y, _KERNEL),
}
# The roles of x, kernel and y among the arguments, and the query for the kernel's description.
_ROLES = {
  'convolve': ((1, 33, 17), 131),
  'input_gradient': ((129, 33, 145), 131),
  'kernel_gradient': ((1, 161, 145), 132),
}
_FROM, _TO = 1, 17  # roles of a reorder
_SCRATCHPAD, _SCRATCHPAD_QUERY, _OF_THE_CALLER = 80, 136, 1
_ALIGNMENT = 64
_lock = threading.RLock()  # whoever traces makes primitives while another runs
_calls = queue.SimpleQueue()  # (primitive, addresses, queue of the answer)


class _Argument(ctypes.Structure):
  _fields_ = [('role', c_int), ('memory', c_void_p)]


def _called(name: str, *arguments: Any) -> Any:
  return getattr(_library(), name)(*arguments)


def _library() -> ctypes.CDLL | None:
  """Returns the library, None where it is not installed or does not load."""
  with _lock:
    return _loaded()


@functools.cache
def _loaded() -> ctypes.CDLL | None:
  # Its threads (OpenMP's) would spin for a while after each call, on the cores that XLA wants.
  os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
  try:
    files = importlib.metadata.files(PACKAGE) or ()
  except importlib.metadata.PackageNotFoundError:
    return None
  path = next((f.locate() for f in files if f.name == LIBRARY), LIBRARY)
  try:
    library = ctypes.CDLL(str(path))
  except OSError as error:  # mostly for want of libgomp.so.1
    logging.warning("%s does not load (%s): convolutions are XLA's, and slower.", PACKAGE, error)
    return None
  library.dnnl_primitive_desc_query_md.restype = c_void_p
  library.dnnl_memory_desc_get_size.restype = c_size_t
  threading.Thread(target=_serve, daemon=True, name='onednn').start()
  ffi.register(_NAME, _ask)
  return library


def _ask(what: str, addresses: list[int]) -> None:
  """Has the primitive run by the thread that runs all of them, and waits for it.

  XLA calls from as many threads as there are cores. OpenMP would give each of them as many of its own; and two
  convolutions at once would share the cores and the memory.
  """
  answer = queue.SimpleQueue()
  _calls.put((_primitive(what), addresses, answer))
  if (error := answer.get()) is not None:
    raise error


def _serve() -> None:
  while True:
    run, addresses, answer = _calls.get()
    try:
      run(addresses)
      answer.put(None)
    except Exception as error:
      answer.put(error)


def available(dtype: str = 'float32') -> bool:
  """Returns whether oneDNN is installed and can multiply numbers of `dtype` on this machine, whose backend is a CPU."""
  if dtype not in _DTYPES or jax.default_backend() != 'cpu' or _library() is None:
    return False
  return dtype == 'float32' or compile_cache.processor_flags() >= BFLOAT16_NEEDS


def refuse(kind: str) -> None:
  """Raises the UserError of a kind that needs oneDNN where there is none."""
  raise UserError(
    f'model.conv: {kind!r} needs a CPU and the package {PACKAGE} (Linux on x86)'
    f'{", and AVX-512" if kind == "amx" else ""}; here the backend is {jax.default_backend()} and the package '
    f'{"is missing or does not load" if _library() is None else "is there"}. Choose auto, matmul or plain.'
  )


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, dtype: DTypeLike) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F], both float32 or both bfloat16 -> [B, H', W', F] of `dtype`."""
  shape = (len(x), *outputs(geometry), kernel.shape[-1])
  return _call('convolve', geometry, (len(x), *kernel.shape[2:]), shape, dtype, x, kernel)


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, dtype: DTypeLike) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in x: g [B, H', W', F], kernel [h, w, C, F] -> [B, H, W, C] of `dtype`."""
  shape = (len(g), *geometry[0], kernel.shape[2])
  return _call('input_gradient', geometry, (len(g), *kernel.shape[2:]), shape, dtype, g, kernel)


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, dtype: DTypeLike) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in kernel: x [B, H, W, C], g [B, H', W', F] -> [h, w, C, F] of `dtype`."""
  sizes = (len(x), x.shape[-1], g.shape[-1])
  return _call('kernel_gradient', geometry, sizes, (*geometry[1], *sizes[1:]), dtype, x, g)


def _call(
  operation: str,
  geometry: Geometry,
  sizes: tuple[int, ...],
  shape: tuple[int, ...],
  dtype: DTypeLike,
  *operands: jax.Array,
) -> jax.Array:
  what = json.dumps([operation, geometry, sizes, operands[0].dtype.name, jnp.dtype(dtype).name])
  _primitive(what)  # what oneDNN cannot do is said here, not when it runs
  return ffi.call(_NAME, what, jax.ShapeDtypeStruct(shape, dtype), *operands)


def _primitive(what: str) -> Callable[[list[int]], None]:
  """As `_built`, by one thread at a time."""
  with _lock:
    return _built(what)


@functools.cache
def _built(what: str) -> Callable[[list[int]], None]:
  """Returns the function, of the addresses of operands and result, that `what` describes."""
  operation, geometry, (batch, c, f), factor, result = json.loads(what)
  (height, width), (h, w), *_ = geometry
  # oneDNN's order of axes, and how far apart their numbers lie in [B, H, W, C] and [h, w, C, F].
  images = lambda rows, columns, n: ((batch, n, rows, columns), (rows * columns * n, 1, columns * n, n))
  lays = images(height, width, c), ((f, c, h, w), (1, f, w * c * f, c * f)), images(*outputs(geometry), f)
  order = _ORDER[operation]
  dtypes = [result if part == order[-1] else factor for part in (_X, _KERNEL, _Y)]
  chosen = _convolution(operation, geometry, lays, dtypes, factor)

  outer = [_description(dtype, *lay) for dtype, lay in zip(dtypes, lays)]
  roles, query = _ROLES[operation]
  inner = c_void_p(_called('dnnl_primitive_desc_query_md', chosen, query, 0))  # the kernel as oneDNN wants it
  memories = [_memory(d, None) for d in outer]
  own = _memory(inner, _OWN_MEMORY)
  convolution = _Run(chosen, dict(zip(roles, (memories[_X], own, memories[_Y]))))
  if order[-1] == _KERNEL:
    runs = convolution, _reorder(inner, outer[_KERNEL], own, memories[_KERNEL])
  else:
    runs = _reorder(outer[_KERNEL], inner, memories[_KERNEL], own), convolution

  def run(addresses: list[int]) -> None:
    with _lock:
      for part, address in zip(order, addresses, strict=True):
        _checked('dnnl_memory_set_data_handle', memories[part], c_void_p(address))
      for each in runs:
        each()
      _checked('dnnl_stream_wait', _stream())

  return run


def _convolution(operation: str, geometry: Geometry, lays: Sequence[Lay], dtypes: list[str], factor: str) -> c_void_p:
  """Returns oneDNN's description of its fastest way to do it, the order of the kernel's numbers left to it."""
  *_, strides, padding = geometry
  how = [_integers(values) for values in (strides, (0, 0), *zip(*padding))]

  def create(
    name: str, dtypes: list[str], *arguments: Any, bias: tuple[None, ...] = (None,), hint: tuple[c_void_p, ...] = ()
  ) -> c_void_p:
    x, kernel, y = (_description(dtype, *lay) for dtype, lay in zip(dtypes, (lays[_X], lays[_KERNEL][:1], lays[_Y])))
    name = f'dnnl_convolution_{name}_primitive_desc_create'
    return _made(name, _engine(), *arguments, _DIRECT, x, kernel, *bias, y, *how, *hint, _attributes())

  if operation == 'convolve':
    return create('forward', dtypes, _TRAINING)
  hint = (create('forward', [factor] * 3, _TRAINING),)  # the pass that it belongs to
  if operation == 'input_gradient':
    return create('backward_data', dtypes, bias=(), hint=hint)
  return create('backward_weights', dtypes, hint=hint)


def _reorder(source: c_void_p, target: c_void_p, read: c_void_p, written: c_void_p) -> '_Run':
  engine = _engine()
  description = _made('dnnl_reorder_primitive_desc_create', source, engine, target, engine, _attributes())
  return _Run(description, {_FROM: read, _TO: written})


class _Run:
  """A primitive with the memories that it works on, by role."""

  room = np.empty(0, np.uint8)  # in which all primitives work, one at a time

  def __init__(self, description: c_void_p, memories: dict[int, c_void_p]) -> None:
    wanted = c_void_p(_called('dnnl_primitive_desc_query_md', description, _SCRATCHPAD_QUERY, 0))
    size = _called('dnnl_memory_desc_get_size', wanted) + _ALIGNMENT
    if size > len(_Run.room):
      _Run.room = np.empty(size, np.uint8)
    self.scratchpad = _memory(wanted, None)
    memories = {**memories, _SCRATCHPAD: self.scratchpad}
    self.primitive = _made('dnnl_primitive_create', description)
    self.arguments = (_Argument * len(memories))(*memories.items())

  def __call__(self) -> None:
    start = _Run.room.ctypes.data
    _checked('dnnl_memory_set_data_handle', self.scratchpad, c_void_p(start + -start % _ALIGNMENT))
    _checked('dnnl_primitive_execute', self.primitive, _stream(), len(self.arguments), self.arguments)


@functools.cache
def _engine() -> c_void_p:
  return _made('dnnl_engine_create', _CPU, c_size_t(0))


@functools.cache
def _attributes() -> c_void_p:
  """Returns what all primitives share: their scratchpad is ours. oneDNN's would be of the thread that made them."""
  attributes = _made('dnnl_primitive_attr_create')
  _checked('dnnl_primitive_attr_set_scratchpad_mode', attributes, _OF_THE_CALLER)
  return attributes


@functools.cache
def _stream() -> c_void_p:
  return _made('dnnl_stream_create', _engine(), _IN_ORDER)


def _description(dtype: str, dims: tuple[int, ...], strides: tuple[int, ...] | None = None) -> c_void_p:
  """Describes an array; without strides the order of its numbers is left to oneDNN."""
  if strides is None:
    return _made('dnnl_memory_desc_create_with_tag', len(dims), _integers(dims), _DTYPES[dtype], _ANY_ORDER)
  return _made('dnnl_memory_desc_create_with_strides', len(dims), _integers(dims), _DTYPES[dtype], _integers(strides))


def _memory(description: c_void_p, where: c_void_p | None) -> c_void_p:
  return _made('dnnl_memory_create', description, _engine(), where)


def _integers(values: Sequence[int]) -> ctypes.Array:
  return (c_int64 * len(values))(*values)


def _made(name: str, *arguments: Any) -> c_void_p:
  """Calls a function of the library that makes something and writes where to its first argument."""
  handle = c_void_p()
  _checked(name, byref(handle), *arguments)
  return handle


def _checked(name: str, *arguments: Any) -> None:
  status = _called(name, *arguments)
  if status:
    raise RuntimeError(f'{name} of oneDNN answered {status}.')  # dnnl_status_t: 1 out of memory, 3 unimplemented, …
