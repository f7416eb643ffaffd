"""XLA custom calls that a Python function answers on raw memory, for C libraries reached by ctypes.

XLA's typed foreign functions are C: a handler is given a frame that says where operands, results and attributes lie
(xla/ffi/api/c_api.h in jaxlib's headers; its major version 0 is laid out here). ctypes can be that C, so that nothing
needs a compiler. Unlike `jax.pure_callback` nothing is copied, no array is made, and programs with such a call are kept
in the compilation cache. The function runs on XLA's threads and must not call JAX.
"""

import atexit
import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

import jax
import numpy as np

MAJOR, MINOR = 0, 1  # of the interface, as far as it is used here
_METADATA = 1  # the extension of a frame that asks for the version, and calls nothing
_INTERNAL = 13  # the code of an error that is not the caller's
_kept = []  # what XLA was given pointers to
_ending = []  # not empty once the interpreter ends


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


class _Buffers(Structure):  # operands, and results
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
  """Lets custom calls of `name` run function(what, addresses of operands and results) on CPUs.

  An exception of the function, Ctrl-C among them, becomes an error of the program that called.
  """

  def handle(frame: _Frame) -> int | None:  # a pointer to an error, or none
    if frame.extension and frame.extension.contents.base.type == _METADATA:
      version = frame.extension.contents.metadata.contents.version
      version.major, version.minor = MAJOR, MINOR
      return None
    try:
      if _ending:
        raise RuntimeError('Python ends')
      span = frame.attributes.values[0].contents
      what = ctypes.string_at(span.start, span.length).decode()
      function(what, _addresses(frame.operands) + _addresses(frame.results))
    except BaseException as error:  # Ctrl-C too: nothing may leave a callback of C
      text = f'{name}: {type(error).__name__}: {error}'.encode()
      arguments = _ErrorArguments(ctypes.sizeof(_ErrorArguments), None, text, _INTERNAL)
      return frame.api.contents.error(ctypes.byref(arguments))
    return None

  handler = ctypes.CFUNCTYPE(c_void_p, POINTER(_Frame))(lambda frame: handle(frame.contents))
  _kept.append(handler)
  if len(_kept) == 1:
    atexit.register(_end)  # after jax's own, thus before it
  jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(ctypes.cast(handler, c_void_p).value), platform='cpu')


def _end() -> None:
  """Ends what was dispatched and still runs: a call into an interpreter that is gone would never return.

  Programs of one thread run on a device in the order of their dispatch: an empty one there waits for all before it. Of
  other threads' programs this knows nothing; who dispatches from one should wait for the result.
  """
  _ending.append(True)
  empty = jax.jit(lambda x: x + 1)
  jax.block_until_ready([empty(jax.device_put(np.float32(0), device)) for device in jax.local_devices(backend='cpu')])


def call(name: str, what: str, result: jax.ShapeDtypeStruct, *operands: jax.Array) -> jax.Array:
  """Returns what the function registered as `name` writes, all arrays being dense and row-major."""
  return jax.ffi.ffi_call(name, result, vmap_method='sequential')(*operands, what=what)


def _addresses(buffers: _Buffers) -> list[int]:
  return [buffers.buffers[i].contents.data for i in range(buffers.count)]
