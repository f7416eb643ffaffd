"""A 2-D convolution in four implementations with the same parameters: XLA's, and three that train faster on CPUs.

`kind='onednn'` computes the convolution, input gradient and weight gradient with oneDNN (`onednn.py`), in the compute
type. `kind='amx'` does so with factors rounded to bfloat16, and with sums, inputs and outputs in float32: on CPUs with
AMX or avx512_bf16, networks train 1.2 to 2.2 times as fast.

`kind='matmul'` needs no library. On a CPU, XLA's weight gradient is the slow part of training. Here it is
`gradient.T @ patches`, summed over blocks of images whose patches fit the processor's cache: up to 4 times as fast, but
not faster with few channels. Matmuls, unlike convolutions, keep their speed inside `lax.scan`, and patches are never
stored as residuals. The convolution and the input gradient are XLA's.

Convolution, input gradient and weight gradient are the three derivatives of the trilinear form <g, convolve(x, k)>, so
the gradient of each consists of the other two. Therefore reverse-mode derivatives of every order use the fast kernels.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.models.layers import onednn
from noisyjax.models.layers.geometry import Geometry, Pair, blocks, outputs, patch
from noisyjax.system.errors import check_choice

KINDS = ('plain', 'matmul', 'onednn', 'amx')
BLOCK = 2**21  # size of the patches of one block, in numbers: 8 MiB of float32; chosen by measurement


def kinds() -> tuple[str, ...]:
  """Returns the kinds that are available on this machine."""
  return KINDS[: 2 + onednn.available() + onednn.available('bfloat16')]


def fastest() -> str:
  """Returns the kind that is fastest in float32 on this machine."""
  one_cpu = jax.default_backend() == 'cpu' and jax.device_count() == 1  # XLA shares only its own among devices
  return 'plain' if not one_cpu else 'onednn' if 'onednn' in kinds() else 'matmul'


class Conv(nn.Module):
  """A convolution of images, like `nn.Conv`: its parameters are a kernel [h, w, in, out] and a bias [out] in float32.

  Attributes:
    features: number of output channels.
    kernel: height and width of the kernel.
    strides: vertical and horizontal stride.
    padding: 'SAME', 'VALID', or pixels ((top, bottom), (left, right)).
    use_bias: whether a bias is added.
    kernel_init: initializer of the kernel.
    bias_init: initializer of the bias.
    dtype: compute type.
    kind: 'plain' (XLA; any backend, forward and reverse mode), 'matmul' (any CPU, reverse mode only), 'onednn' (if
      `onednn.available`, reverse mode only) or 'amx' (like 'onednn', with factors in bfloat16).
  """

  features: int
  kernel: Pair
  strides: Pair = (1, 1)
  padding: str | tuple[Pair, Pair] = 'SAME'
  use_bias: bool = True
  kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
  bias_init: Callable[..., Any] = nn.initializers.zeros_init()
  dtype: Any = jnp.float32
  kind: str = 'plain'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H', W', features]
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, x.shape[-1], self.features), jnp.float32)
    y = convolution(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.padding, self.kind)
    if self.use_bias:
      # Added in float32, so that its gradient, a sum over all pixels, is computed in float32, too.
      y = (y + self.param('bias', self.bias_init, (self.features,), jnp.float32)).astype(self.dtype)
    return y


def convolution(
  x: jax.Array, kernel: jax.Array, strides: Pair, padding: str | tuple[Pair, Pair], kind: str
) -> jax.Array:
  """Returns the convolution [B, H', W', F] of images and a kernel of the same type.

  Args:
    x: images [B, H, W, C].
    kernel: [h, w, C, F].
    strides: vertical and horizontal stride.
    padding: as in `Conv`.
    kind: as in `Conv`.

  Raises:
    UserError: `kind` is unknown, or not available on this machine.
  """
  check_choice('conv', kind, KINDS)
  if kind not in kinds():
    onednn.refuse(kind)
  (_, height, width, _), (h, w, *_) = x.shape, kernel.shape
  size, window = (height, width), (h, w)
  if isinstance(padding, str):
    rows, columns = lax.padtype_to_pads(size, window, strides, padding)
    padding = (rows, columns)
  geometry = (size, window, strides, padding)
  return _convolve(x, kernel, geometry) if kind == 'plain' else convolve(x, kernel, geometry, kind)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry, kind: str, groups: int = 1) -> jax.Array:
  """Returns the convolution [B, H', W', F] of x [B, H, W, C] and kernel [h, w, C / groups, F].

  With several groups of channels (C of them make a depthwise convolution) oneDNN must be available for the type.
  """
  factor = _factor(x, geometry, kind)
  if factor is None:
    return _convolve(x, kernel, geometry)
  return onednn.convolve(x.astype(factor), kernel.astype(factor), geometry, groups, x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry, kind: str, groups: int = 1) -> jax.Array:
  """Returns the gradient [B, H, W, C] of <g, convolve(x, kernel)> in x.

  Args:
    g: [B, H', W', F].
    kernel: [h, w, C / groups, F].
    geometry: sizes, strides and padding.
    kind: as in `Conv`.
    groups: as in `convolve`.
  """
  factor = _factor(g, geometry, kind)
  if factor is None:
    x = jax.ShapeDtypeStruct((g.shape[0], *geometry[0], kernel.shape[2]), g.dtype)
    return jax.linear_transpose(lambda x: _convolve(x, kernel, geometry), x)(g)[0]
  return onednn.input_gradient(g.astype(factor), kernel.astype(factor), geometry, groups, g.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry, kind: str, groups: int = 1) -> jax.Array:
  """Returns the gradient [h, w, C / groups, F] of <g, convolve(x, kernel)> in kernel.

  Args:
    x: [B, H, W, C].
    g: [B, H', W', F].
    geometry: sizes, strides and padding.
    kind: as in `Conv`.
    groups: as in `convolve`.
  """
  factor = _factor(x, geometry, kind)
  if factor is None:
    return _by_patches(x, g, geometry).astype(x.dtype)
  return onednn.kernel_gradient(x.astype(factor), g.astype(factor), geometry, groups, x.dtype)


convolve.defvjp(
  lambda x, kernel, *how: (convolve(x, kernel, *how), (x, kernel)),
  lambda geometry, kind, groups, saved, g: (
    input_gradient(g, saved[1], geometry, kind, groups),
    kernel_gradient(saved[0], g, geometry, kind, groups),
  ),
)
input_gradient.defvjp(
  lambda g, kernel, *how: (input_gradient(g, kernel, *how), (g, kernel)),
  lambda geometry, kind, groups, saved, x: (
    convolve(x, saved[1], geometry, kind, groups),
    kernel_gradient(x, saved[0], geometry, kind, groups),
  ),
)
kernel_gradient.defvjp(
  lambda x, g, *how: (kernel_gradient(x, g, *how), (x, g)),
  lambda geometry, kind, groups, saved, kernel: (
    input_gradient(saved[1], kernel, geometry, kind, groups),
    convolve(saved[0], kernel, geometry, kind, groups),
  ),
)


def _factor(x: jax.Array, geometry: Geometry, kind: str) -> str | None:
  """Returns the type of the factors for oneDNN; None if the kind or the geometry requires another implementation."""
  # oneDNN supports neither negative padding nor empty dimensions.
  if kind == 'matmul' or min(map(min, geometry[3])) < 0 or min(*x.shape[1:], *outputs(geometry)) < 1:
    return None
  factor = 'bfloat16' if kind == 'amx' else x.dtype.name
  return factor if onednn.available(factor) and onednn.available(x.dtype.name) else None


def _convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns XLA's convolution."""
  _, _, strides, padding = geometry
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _by_patches(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns the gradient of the kernel: `g.T @ patches`, summed over blocks of images whose patches fit the cache."""
  total = jnp.promote_types(x.dtype, jnp.float32)
  x, g = (blocks(a.astype(total), patch(geometry, x.shape[-1]), BLOCK) for a in (x, g))
  # [blocks, F, pixels]. Transposed before the loop, because within it XLA fuses transpose and matmul into a slow
  # operation.
  g = g.reshape(len(g), -1, g.shape[-1]).swapaxes(1, 2)
  zero = jnp.zeros((g.shape[1], math.prod(geometry[1]) * x.shape[-1]), total)
  total = lax.scan(lambda total, block: (total + block[1] @ _patches(block[0], geometry), None), zero, (x, g))[0]
  return total.T.reshape(*geometry[1], x.shape[-1], -1)


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns the patch of every output pixel, [B H' W', h w C], of x [B, H, W, C]."""
  _, (kh, kw), (sh, sw), padding = geometry
  h, w = outputs(geometry)
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
  x = lax.optimization_barrier(x)  # padding that is fused into the concatenation costs a third of its speed
  shifted = lambda i, j: x[:, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
  return jnp.concatenate([shifted(i, j) for i in range(kh) for j in range(kw)], axis=-1).reshape(len(x) * h * w, -1)
