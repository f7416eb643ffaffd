"""oneDNN's convolution and matrix product, which jaxlib contains but XLA does not choose by itself.

On two AVX-512 cores they are 1.2-3 times as fast as what XLA makes of the same (benchmarks/README.md). jaxlib for
Linux on x86 hands custom calls of these names to oneDNN; XLA's own option to rewrite convolutions into such calls,
`xla_cpu_experimental_onednn_custom_call`, does nothing in a released jaxlib. The names and their fields are an
agreement inside XLA, not an interface: `available` knows the versions it was tested with and tries a small product, and
elsewhere `conv = auto` does without.

XLA fails to write a program with such a call to a file (std::bad_alloc, jaxlib 0.10.2), so that making one turns the
persistent compilation cache off for the rest of the process.
"""

import functools
import json
import platform
import sys

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from noisyjax import compile_cache
from noisyjax.errors import UserError
from noisyjax.models.geometry import Geometry, outputs

TESTED = ('0.10.', '0.11.')  # of jaxlib
NEEDED = {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'}  # of the processor: without them bfloat16 ends the process
DTYPES = (jnp.float32, jnp.bfloat16)


@functools.cache
def available() -> bool:
  """Returns whether this jaxlib answers, on this machine's processor."""
  known = sys.platform == 'linux' and platform.machine() == 'x86_64' and jaxlib.__version__.startswith(TESTED)
  if not known or jax.default_backend() != 'cpu' or not compile_cache.processor_flags() >= NEEDED:
    return False
  a = np.arange(6, dtype=np.float32).reshape(2, 3)
  with jax.ensure_compile_time_eval(), compile_cache.spared():
    try:
      return bool((jax.jit(product, static_argnums=2)(a, a, jnp.float32) == a.T @ a).all())
    except jax.errors.JaxRuntimeError:  # built without oneDNN
      return False


def refuse(kind: str) -> None:
  """Raises the UserError of a kind that needs oneDNN where there is none."""
  versions, here = ' or '.join(v + 'x' for v in TESTED), (jaxlib.__version__, sys.platform, platform.machine())
  raise UserError(
    f'model.conv: {kind!r} needs oneDNN in jaxlib {versions} for Linux on x86, on a CPU with AVX-512; '
    f'this is jaxlib {", ".join(here)}, {jax.default_backend()}. Choose auto, matmul or plain.'
  )


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, dtype) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F], both of one of DTYPES -> [B, H', W', F] of `dtype`."""
  _, _, strides, padding = geometry
  images = {'data': {'batch_dim': 0, 'feature_dim': 3, 'spatial_dims': [1, 2]}}
  config = {
    'dims': 4, 'feature_groups': 1, 'input': images, 'output': images,
    'kernel': {'filter': {'input_feature_dim': 2, 'output_feature_dim': 3, 'spatial_dims': [0, 1]}},
    'window': {
      'pad_left': [before for before, _ in padding], 'pad_right': [after for _, after in padding],
      'strides': strides, 'window_dilations': [1, 1],
    },
  }  # fmt: skip
  shape = (len(x), *outputs(geometry), kernel.shape[-1])
  return _call('convolution', {'onednn_conv_config': config}, shape, dtype, x, kernel)


def product(a: jax.Array, b: jax.Array, dtype) -> jax.Array:
  """Returns a' b of a [n, p] and b [n, q], both of one of DTYPES -> [p, q] of `dtype`."""
  config = {'onednn_matmul_config': {'transpose_a': True, 'transpose_b': False}}
  return _call('matmul', config, (a.shape[1], b.shape[1]), dtype, a, b)


def _call(name: str, config: dict, shape: tuple[int, ...], dtype, *operands: jax.Array) -> jax.Array:
  compile_cache.forbid()
  call = jax.ffi.ffi_call(
    f'__onednn${name}', jax.ShapeDtypeStruct(shape, dtype), vmap_method='sequential',
    custom_call_api_version=2, legacy_backend_config=json.dumps(config),
  )  # fmt: skip
  return call(*operands)
