"""oneDNN's convolution, input gradient and weight gradient as JAX operations on CPUs.

PyTorch trains with these kernels on x86. They are 1 to 7 times as fast as XLA's (benchmarks/README.md). The library
comes with the PyPI package `onednn-cpu-gomp`, and is called through its C interface (oneapi/dnnl/dnnl.h, version 3).

Images keep JAX's layout, [B, H, W, C]. Kernels are reordered to the layout that oneDNN prefers, which takes little time
compared to the convolution. The primitives of a call are created when it is traced. At run time they are looked up by a
JSON description in the program, so that a program loaded from the compilation cache finds or creates them, too.
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
_NAME = 'noisyjax_onednn'  # name of the custom calls in XLA programs
# Processor features required for bfloat16. It is slow with AVX-512 alone, and fast with avx512_bf16 or AMX.
BFLOAT16_NEEDS = {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'}

# Constants of oneDNN's dnnl_types.h and dnnl_common_types.h, under their names there.
_DNNL_CPU = 1
_DNNL_STREAM_IN_ORDER = 1
_DNNL_CONVOLUTION_DIRECT = 1
_DNNL_FORWARD_TRAINING = 64
_DNNL_FORMAT_TAG_ANY = 1
_DNNL_SCRATCHPAD_MODE_USER = 1
_DNNL_MEMORY_ALLOCATE = c_void_p(-1)
_DNNL_DATA_TYPES = {'bfloat16': 2, 'float32': 3}
# Ids of the arguments of a primitive.
_DNNL_ARG_SRC = _DNNL_ARG_FROM = 1
_DNNL_ARG_DST = _DNNL_ARG_TO = 17
_DNNL_ARG_WEIGHTS = 33
_DNNL_ARG_SCRATCHPAD = 80
_DNNL_ARG_DIFF_SRC = 129
_DNNL_ARG_DIFF_DST = 145
_DNNL_ARG_DIFF_WEIGHTS = 161
# Queries for memory descriptors.
_DNNL_QUERY_WEIGHTS_MD = 131
_DNNL_QUERY_DIFF_WEIGHTS_MD = 132
_DNNL_QUERY_SCRATCHPAD_MD = 136

Layout = tuple[tuple[int, ...], tuple[int, ...]]  # dimensions in oneDNN's order of axes, and their strides
_X, _KERNEL, _Y = range(3)
_ARRAYS = {  # the operands of each operation, then its result
  'convolve': (_X, _KERNEL, _Y),
  'input_gradient': (_Y, _KERNEL, _X),
  'kernel_gradient': (_X, _Y, _KERNEL),
}
# The argument ids of x, kernel and y (or their gradients), and the query for the kernel's memory descriptor.
_ARGUMENT_IDS = {
  'convolve': ((_DNNL_ARG_SRC, _DNNL_ARG_WEIGHTS, _DNNL_ARG_DST), _DNNL_QUERY_WEIGHTS_MD),
  'input_gradient': ((_DNNL_ARG_DIFF_SRC, _DNNL_ARG_WEIGHTS, _DNNL_ARG_DIFF_DST), _DNNL_QUERY_WEIGHTS_MD),
  'kernel_gradient': ((_DNNL_ARG_SRC, _DNNL_ARG_DIFF_WEIGHTS, _DNNL_ARG_DIFF_DST), _DNNL_QUERY_DIFF_WEIGHTS_MD),
}
_ALIGNMENT = 64  # of the scratchpad, in bytes
_lock = threading.RLock()  # one thread may create primitives while another executes them
_calls = queue.SimpleQueue()  # (primitive, addresses, queue for the outcome)


class _Argument(ctypes.Structure):  # dnnl_exec_arg_t
  _fields_ = [('id', c_int), ('memory', c_void_p)]


def _called(name: str, *arguments: Any) -> Any:
  """Calls a function of the library."""
  return getattr(_library(), name)(*arguments)


def _library() -> ctypes.CDLL | None:
  """Returns the library; None if it is not installed or cannot be loaded. Loads it once, with one thread at a time."""
  with _lock:
    return _loaded()


@functools.cache
def _loaded() -> ctypes.CDLL | None:
  """Loads the library, and starts the thread that executes its primitives."""
  # By default, OpenMP's threads spin for a while after each call and occupy the cores that XLA needs.
  os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
  try:
    files = importlib.metadata.files(PACKAGE) or ()
  except importlib.metadata.PackageNotFoundError:
    return None
  path = next((f.locate() for f in files if f.name == LIBRARY), LIBRARY)
  try:
    library = ctypes.CDLL(str(path))
  except OSError as error:  # usually because libgomp.so.1 is missing
    logging.warning('%s cannot be loaded (%s): XLA computes the convolutions, more slowly.', PACKAGE, error)
    return None
  library.dnnl_primitive_desc_query_md.restype = c_void_p
  library.dnnl_memory_desc_get_size.restype = c_size_t
  threading.Thread(target=_serve, daemon=True, name='onednn').start()
  ffi.register(_NAME, _execute)
  return library


def _execute(what: str, addresses: list[int]) -> None:
  """Passes a primitive to the one thread that executes them all, and waits for it.

  XLA calls from as many threads as there are cores, and OpenMP would start as many threads for each of them. Moreover,
  two convolutions at a time would compete for the cores and the memory.
  """
  outcome = queue.SimpleQueue()
  _calls.put((_primitive(what), addresses, outcome))
  if (error := outcome.get()) is not None:
    raise error


def _serve() -> None:
  """Executes the primitives in `_calls` one after another, forever."""
  while True:
    run, addresses, outcome = _calls.get()
    try:
      run(addresses)
      outcome.put(None)
    except Exception as error:
      outcome.put(error)


def available(dtype: str = 'float32') -> bool:
  """Returns whether JAX's backend is the CPU, and oneDNN is installed and supports `dtype` on this processor."""
  if dtype not in _DNNL_DATA_TYPES or jax.default_backend() != 'cpu' or _library() is None:
    return False
  return dtype == 'float32' or compile_cache.processor_flags() >= BFLOAT16_NEEDS


def refuse(kind: str) -> None:
  """Raises the UserError for a kind of convolution that needs oneDNN on a machine without it."""
  raise UserError(
    f'model.conv: {kind!r} needs a CPU and the package {PACKAGE} (Linux on x86)'
    f'{", and AVX-512" if kind == "amx" else ""}; here the backend is {jax.default_backend()} and the package '
    f'{"is missing or cannot be loaded" if _library() is None else "is installed"}. Choose auto, matmul or plain.'
  )


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int, dtype: DTypeLike) -> jax.Array:
  """Returns the convolution [B, H', W', F] in `dtype` of x [B, H, W, C] and kernel [h, w, C / groups, F] of one type.

  Args:
    x: images, float32 or bfloat16.
    kernel: the kernel, of the same type.
    geometry: sizes, strides and padding.
    groups: number of groups of channels; each group of outputs sees one group of inputs. C: a depthwise convolution.
    dtype: type of the result.
  """
  shape = (len(x), *outputs(geometry), kernel.shape[-1])
  return _call('convolve', geometry, (len(x), x.shape[-1], kernel.shape[-1], groups), shape, dtype, x, kernel)


def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, groups: int, dtype: DTypeLike) -> jax.Array:
  """Returns the gradient [B, H, W, C] of <g, convolve(x, kernel)> in x, in `dtype`: g [B, H', W', F]."""
  shape = (len(g), *geometry[0], kernel.shape[2] * groups)
  sizes = (len(g), shape[-1], g.shape[-1], groups)
  return _call('input_gradient', geometry, sizes, shape, dtype, g, kernel)


def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, groups: int, dtype: DTypeLike) -> jax.Array:
  """Returns the gradient [h, w, C / groups, F] of <g, convolve(x, kernel)> in kernel, in `dtype`: g [B, H', W', F]."""
  sizes = (len(x), x.shape[-1], g.shape[-1], groups)
  shape = (*geometry[1], x.shape[-1] // groups, g.shape[-1])
  return _call('kernel_gradient', geometry, sizes, shape, dtype, x, g)


def _call(
  operation: str,
  geometry: Geometry,
  sizes: tuple[int, ...],
  shape: tuple[int, ...],
  dtype: DTypeLike,
  *operands: jax.Array,
) -> jax.Array:
  """Adds a custom call to the traced program.

  Args:
    operation: a key of `_ARRAYS`.
    geometry: sizes, strides and padding.
    sizes: batch size, input channels, output channels and groups.
    shape: shape of the result.
    dtype: type of the result.
    *operands: arrays of one type.
  """
  what = json.dumps([operation, geometry, sizes, operands[0].dtype.name, jnp.dtype(dtype).name])
  _primitive(what)  # so that an unsupported operation raises during tracing, not at run time
  return ffi.call(_NAME, what, jax.ShapeDtypeStruct(shape, dtype), *operands)


def _primitive(what: str) -> Callable[[list[int]], None]:
  """Returns `_built(what)`, executed by one thread at a time."""
  with _lock:
    return _built(what)


@functools.cache
def _built(what: str) -> Callable[[list[int]], None]:
  """Creates the primitives of a call.

  Args:
    what: JSON description of the call, see `_call`.

  Returns:
    A function of the addresses of the operands, followed by that of the result.
  """
  operation, geometry, (batch, channels, f, groups), factor, result = json.loads(what)
  (height, width), (h, w), *_ = geometry
  c, each = channels // groups, f // groups
  # Layouts of x, kernel and y; strides are those of [B, H, W, C] and [h, w, C / groups, F].
  images = lambda rows, columns, n: ((batch, n, rows, columns), (rows * columns * n, 1, columns * n, n))
  kernel = (groups, each, c, h, w), (each, 1, f, w * c * f, c * f)
  if groups == 1:
    kernel = kernel[0][1:], kernel[1][1:]
  layouts = images(height, width, channels), kernel, images(*outputs(geometry), f)
  arrays = _ARRAYS[operation]
  dtypes = [result if array == arrays[-1] else factor for array in (_X, _KERNEL, _Y)]
  description = _convolution(operation, geometry, layouts, dtypes, factor)

  outer = [_description(dtype, *layout) for dtype, layout in zip(dtypes, layouts)]
  ids, query = _ARGUMENT_IDS[operation]
  inner = c_void_p(_called('dnnl_primitive_desc_query_md', description, query, 0))  # the kernel in oneDNN's layout
  memories = [_memory(d, None) for d in outer]
  reordered = _memory(inner, _DNNL_MEMORY_ALLOCATE)
  convolution = _Primitive(description, dict(zip(ids, (memories[_X], reordered, memories[_Y]))))
  if arrays[-1] == _KERNEL:
    primitives = convolution, _reorder(inner, outer[_KERNEL], reordered, memories[_KERNEL])
  else:
    primitives = _reorder(outer[_KERNEL], inner, memories[_KERNEL], reordered), convolution

  def run(addresses: list[int]) -> None:
    with _lock:
      for array, address in zip(arrays, addresses, strict=True):
        _checked('dnnl_memory_set_data_handle', memories[array], c_void_p(address))
      for primitive in primitives:
        primitive()
      _checked('dnnl_stream_wait', _stream())

  return run


def _convolution(
  operation: str, geometry: Geometry, layouts: Sequence[Layout], dtypes: list[str], factor: str
) -> c_void_p:
  """Returns the primitive descriptor of a convolution or of a gradient; oneDNN chooses the layout of the kernel."""
  *_, strides, padding = geometry
  how = [_integers(values) for values in (strides, (0, 0), *zip(*padding))]

  def create(
    name: str, dtypes: list[str], *arguments: Any, bias: tuple[None, ...] = (None,), hint: tuple[c_void_p, ...] = ()
  ) -> c_void_p:
    chosen = layouts[_X], layouts[_KERNEL][:1], layouts[_Y]
    x, kernel, y = (_description(dtype, *layout) for dtype, layout in zip(dtypes, chosen))
    name = f'dnnl_convolution_{name}_primitive_desc_create'
    return _made(name, _engine(), *arguments, _DNNL_CONVOLUTION_DIRECT, x, kernel, *bias, y, *how, *hint, _attributes())

  if operation == 'convolve':
    return create('forward', dtypes, _DNNL_FORWARD_TRAINING)
  hint = (create('forward', [factor] * 3, _DNNL_FORWARD_TRAINING),)  # descriptor of the corresponding forward pass
  if operation == 'input_gradient':
    return create('backward_data', dtypes, bias=(), hint=hint)
  return create('backward_weights', dtypes, hint=hint)


def _reorder(source: c_void_p, target: c_void_p, read: c_void_p, written: c_void_p) -> '_Primitive':
  """Returns the primitive that copies memory `read` with layout `source` to memory `written` with layout `target`."""
  engine = _engine()
  description = _made('dnnl_reorder_primitive_desc_create', source, engine, target, engine, _attributes())
  return _Primitive(description, {_DNNL_ARG_FROM: read, _DNNL_ARG_TO: written})


class _Primitive:
  """A primitive and its memories.

  Args:
    description: primitive descriptor.
    memories: memory of each argument, by argument id.
  """

  buffer = np.empty(0, np.uint8)  # memory for the scratchpads of all primitives, which run one at a time

  def __init__(self, description: c_void_p, memories: dict[int, c_void_p]) -> None:
    wanted = c_void_p(_called('dnnl_primitive_desc_query_md', description, _DNNL_QUERY_SCRATCHPAD_MD, 0))
    size = _called('dnnl_memory_desc_get_size', wanted) + _ALIGNMENT
    if size > len(_Primitive.buffer):
      _Primitive.buffer = np.empty(size, np.uint8)
    self.scratchpad = _memory(wanted, None)
    memories = {**memories, _DNNL_ARG_SCRATCHPAD: self.scratchpad}
    self.primitive = _made('dnnl_primitive_create', description)
    self.arguments = (_Argument * len(memories))(*memories.items())

  def __call__(self) -> None:
    start = _Primitive.buffer.ctypes.data
    _checked('dnnl_memory_set_data_handle', self.scratchpad, c_void_p(start + -start % _ALIGNMENT))
    _checked('dnnl_primitive_execute', self.primitive, _stream(), len(self.arguments), self.arguments)


@functools.cache
def _engine() -> c_void_p:
  """Returns the engine of the CPU, created once."""
  return _made('dnnl_engine_create', _DNNL_CPU, c_size_t(0))


@functools.cache
def _attributes() -> c_void_p:
  """Returns the attributes of all primitives: this module allocates the scratchpad.

  The scratchpad that oneDNN allocates by default belongs to the thread that created the primitive.
  """
  attributes = _made('dnnl_primitive_attr_create')
  _checked('dnnl_primitive_attr_set_scratchpad_mode', attributes, _DNNL_SCRATCHPAD_MODE_USER)
  return attributes


@functools.cache
def _stream() -> c_void_p:
  """Returns the stream in which all primitives run, created once."""
  return _made('dnnl_stream_create', _engine(), _DNNL_STREAM_IN_ORDER)


def _description(dtype: str, dims: tuple[int, ...], strides: tuple[int, ...] | None = None) -> c_void_p:
  """Returns the memory descriptor of an array; without strides, oneDNN chooses the layout."""
  sizes, data_type = _integers(dims), _DNNL_DATA_TYPES[dtype]
  if strides is None:
    return _made('dnnl_memory_desc_create_with_tag', len(dims), sizes, data_type, _DNNL_FORMAT_TAG_ANY)
  return _made('dnnl_memory_desc_create_with_strides', len(dims), sizes, data_type, _integers(strides))


def _memory(description: c_void_p, where: c_void_p | None) -> c_void_p:
  """Returns a memory object at an address; with None the address is set later."""
  return _made('dnnl_memory_create', description, _engine(), where)


def _integers(values: Sequence[int]) -> ctypes.Array:
  """Returns a C array of int64."""
  return (c_int64 * len(values))(*values)


def _made(name: str, *arguments: Any) -> c_void_p:
  """Calls a function of the library that creates an object and writes its handle to the first argument; returns it."""
  handle = c_void_p()
  _checked(name, byref(handle), *arguments)
  return handle


def _checked(name: str, *arguments: Any) -> None:
  """Calls a function of the library; raises RuntimeError if it fails."""
  status = getattr(_library(), name)(*arguments)
  if status:
    raise RuntimeError(f'oneDNN: {name} returned status {status}.')  # dnnl_status_t: 1 out of memory, 3 unimplemented
