"""XLA custom calls that run a Python function on raw memory addresses, for C libraries accessed through ctypes.

XLA's typed foreign function interface is a C interface: a handler receives a frame with the addresses of operands,
results and attributes (xla/ffi/api/c_api.h in jaxlib's headers; the structures below follow its major version 0). The
handler is built with ctypes, so that no compiler is needed. Unlike `jax.pure_callback`, it copies nothing and creates
no arrays, and programs with such a call can be stored in the compilation cache. The function runs on XLA's threads and
must not call JAX.
"""

import atexit
import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

import jax
import numpy as np

MAJOR, MINOR = 0, 1  # version of the interface that this module implements
_METADATA = 1  # XLA_FFI_Extension_Metadata: the frame asks for the version and requests no call
_INTERNAL = 13  # XLA_FFI_Error_Code_INTERNAL
_kept = []  # handlers that XLA holds pointers to; they must not be garbage-collected
_ending = []  # not empty once the interpreter shuts down


class _Extension(Structure):
  _fields_ = [('size', c_size_t), ('type', c_int), ('next', c_void_p)]


class _Version(Structure):
  _fields_ = [('size', c_size_t), ('extension', c_void_p), ('major', c_int), ('minor', c_int)]


class _Metadata(Structure):
  _fields_ = [('size', c_size_t), ('version', _Version), ('traits', c_uint32)]


class _MetadataExtension(Structure):
  _fields_ = [('base', _Extension), ('metadata', POINTER(_Metadata))]


class _Buffer(Structure):
  _fields_ = [
    ('size', c_size_t),
    ('extension', c_void_p),
    ('dtype', c_int),
    ('data', c_void_p),
    ('rank', c_int64),
    ('dims', POINTER(c_int64)),
  ]


class _Span(Structure):
  _fields_ = [('start', c_void_p), ('length', c_size_t)]


class _Buffers(Structure):  # XLA_FFI_Args and XLA_FFI_Rets
  _fields_ = [
    ('size', c_size_t),
    ('extension', c_void_p),
    ('count', c_int64),
    ('types', c_void_p),
    ('buffers', POINTER(POINTER(_Buffer))),
  ]


class _Attributes(Structure):
  _fields_ = [
    ('size', c_size_t),
    ('extension', c_void_p),
    ('count', c_int64),
    ('types', c_void_p),
    ('names', c_void_p),
    ('values', POINTER(POINTER(_Span))),
  ]


class _ErrorArguments(Structure):
  _fields_ = [('size', c_size_t), ('extension', c_void_p), ('message', c_char_p), ('code', c_int)]


class _Api(Structure):
  _fields_ = [
    ('size', c_size_t),
    ('extension', c_void_p),
    ('version', _Version),
    ('internal', c_void_p),
    ('error', ctypes.CFUNCTYPE(c_void_p, POINTER(_ErrorArguments))),
  ]


class _Frame(Structure):
  _fields_ = [
    ('size', c_size_t),
    ('extension', POINTER(_MetadataExtension)),
    ('api', POINTER(_Api)),
    ('context', c_void_p),
    ('stage', c_int),
    ('operands', _Buffers),
    ('results', _Buffers),
    ('attributes', _Attributes),
  ]


def register(name: str, function: Callable[[str, list[int]], None]) -> None:
  """Registers a function as the custom call `name` on CPUs.

  An exception in the function, including KeyboardInterrupt, becomes an error of the XLA program.

  Args:
    name: name of the custom call.
    function: takes the text `what` of `call`, and the addresses of the operands followed by that of the result.
  """

  def handle(frame: _Frame) -> int | None:  # returns a pointer to an error, or None
    if frame.extension and frame.extension.contents.base.type == _METADATA:
      version = frame.extension.contents.metadata.contents.version
      version.major, version.minor = MAJOR, MINOR
      return None
    try:
      if _ending:
        raise RuntimeError('the Python interpreter is shutting down')
      span = frame.attributes.values[0].contents
      what = ctypes.string_at(span.start, span.length).decode()
      function(what, _addresses(frame.operands) + _addresses(frame.results))
    except BaseException as error:  # also KeyboardInterrupt: no exception may propagate out of a C callback
      text = f'{name}: {type(error).__name__}: {error}'.encode()
      arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, text, _INTERNAL)
      return frame.api.contents.error(ctypes.byref(arguments))
    return None

  handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_Frame))(lambda frame: handle(frame.contents))
  _kept.append(handler)
  if len(_kept) == 1:
    atexit.register(_end)  # registered after JAX's exit handler, so it runs before it
  jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.cast(handler, c_void_p).value), platform='cpu')


def _end() -> None:
  """Waits for dispatched programs at exit, because a call into an interpreter that has shut down would never return.

  Programs that one thread dispatches run on a device in order, so waiting for an empty program waits for all earlier
  ones. Programs of other threads are not covered: code that dispatches from another thread should wait for its results.
  """
  _ending.append(True)
  empty = jax.jit(lambda x: x + 1)
  jax.block_until_ready([empty(jax.device_put(np.float32(0), device)) for device in jax.local_devices(backend='cpu')])


def call(name: str, what: str, result: jax.ShapeDtypeStruct, *operands: jax.Array) -> jax.Array:
  """Calls the function registered as `name`.

  Args:
    name: name of the custom call.
    what: text for the function.
    result: shape and type of the result.
    *operands: arrays; like the result they are passed dense and row-major.

  Returns:
    The array that the function wrote.
  """
  return jax.ffi.ffi_call(name, result, vmap_method='sequential')(*operands, what=what)


def _addresses(buffers: _Buffers) -> list[int]:
  """Returns the address of each buffer."""
  return [buffers.buffers[i].contents.data for i in range(buffers.count)]
