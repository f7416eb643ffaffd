"""A 2-D convolution in two forms that share their parameters: XLA's own, and one that trains faster on CPUs.

XLA's weight gradient is the slow part of training on a CPU: mostly 12-70 GFLOP/s on two AVX-512 cores where the forward
convolution and the input gradient reach 45-260 (jax 0.10.2, float32, kernels beyond 1x1 and a few input channels).
`kind='matmul'` leaves those two to XLA and computes the weight gradient as `patches.T @ gradient`, over blocks of
images whose patches stay in the cache: 1.3-4 times as fast, most for large images. Matmuls, unlike convolutions,
keep their speed inside `lax.scan`, and patches are never residuals.

Convolution, input gradient and weight gradient are the three derivatives of one trilinear form,
<g, convolve(x, k)>, so the gradient of each is made of the other two: every order of reverse mode stays fast.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.errors import check_choice

KINDS = ('plain', 'matmul')
BLOCK_BYTES = 2**23  # patches of one block; 4-8 MiB measured best with 2 MiB of L2 cache per core

# What is static: image size, kernel size and strides, each (height, width), and padding ((top, bottom), (left, right)).
Pair = tuple[int, int]
Geometry = tuple[Pair, Pair, Pair, tuple[Pair, Pair]]


class Conv(nn.Module):
  """`nn.Conv` for images: kernel [h, w, in, out] and bias [out], float32; computes in `dtype`.

  Attributes:
    features: output channels.
    kernel: height and width of the kernel.
    strides: vertical and horizontal.
    padding: 'SAME' or 'VALID'.
    kind: 'plain' (XLA, any backend, forward and reverse mode) or 'matmul' (for CPUs, reverse mode only).
  """

  features: int
  kernel: Pair
  strides: Pair = (1, 1)
  padding: str = 'SAME'
  use_bias: bool = True
  kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
  bias_init: Callable[..., Any] = nn.initializers.zeros_init()
  dtype: Any = jnp.float32
  kind: str = 'plain'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H', W', features]
    check_choice('conv', self.kind, KINDS)
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, x.shape[-1], self.features), jnp.float32)
    size = x.shape[1:3]
    padding = tuple(lax.padtype_to_pads(size, self.kernel, self.strides, self.padding))
    geometry = (size, self.kernel, self.strides, padding)
    form = convolve if self.kind == 'matmul' else _convolve
    y = form(x.astype(self.dtype), kernel.astype(self.dtype), geometry)
    if self.use_bias:
      y += self.param('bias', self.bias_init, (self.features,), jnp.float32).astype(self.dtype)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, C, F] -> [B, H', W', F]."""
  return _convolve(x, kernel, geometry)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in x: g [B, H', W', F], kernel [h, w, C, F] -> [B, H, W, C]."""
  x = jax.ShapeDtypeStruct((g.shape[0], *geometry[0], kernel.shape[2]), g.dtype)
  return jax.linear_transpose(lambda x: _convolve(x, kernel, geometry), x)(g)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
  """The gradient of <g, convolve(x, kernel)> in kernel: x [B, H, W, C], g [B, H', W', F] -> [h, w, C, F]."""
  b, *_, f = g.shape
  _, kernel, _, _ = geometry
  row = kernel[0] * kernel[1] * x.shape[-1]
  fit = max(1, BLOCK_BYTES // (g.shape[1] * g.shape[2] * row * x.dtype.itemsize))
  block = max(n for n in range(1, min(fit, b) + 1) if b % n == 0)
  dtype = jnp.promote_types(x.dtype, jnp.float32)

  def add(total, images):
    x, g = images
    p = _patches(x, geometry).reshape(-1, row)  # [block H' W', h w C]
    return total + jnp.dot(p.T, g.reshape(-1, f), preferred_element_type=dtype), None

  blocks = jax.tree.map(lambda a: a.reshape(b // block, block, *a.shape[1:]), (x, g))
  total, _ = lax.scan(add, jnp.zeros((row, f), dtype), blocks)
  return total.reshape(*kernel, -1, f).astype(x.dtype)


convolve.defvjp(
  lambda x, kernel, geometry: (convolve(x, kernel, geometry), (x, kernel)),
  lambda geometry, saved, g: (input_gradient(g, saved[1], geometry), kernel_gradient(saved[0], g, geometry)),
)
input_gradient.defvjp(
  lambda g, kernel, geometry: (input_gradient(g, kernel, geometry), (g, kernel)),
  lambda geometry, saved, x: (convolve(x, saved[1], geometry), kernel_gradient(x, saved[0], geometry)),
)
kernel_gradient.defvjp(
  lambda x, g, geometry: (kernel_gradient(x, g, geometry), (x, g)),
  lambda geometry, saved, kernel: (input_gradient(saved[1], kernel, geometry), convolve(saved[0], kernel, geometry)),
)


def _convolve(x, kernel, geometry):
  _, _, strides, padding = geometry
  return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
  """Returns the patch under every output pixel: [B, H, W, C] -> [B, H', W', h w C]."""
  size, kernel, strides, padding = geometry
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  h, w = ((n + sum(p) - k) // s + 1 for n, p, k, s in zip(size, padding, kernel, strides))
  (sh, sw), (kh, kw) = strides, kernel
  views = [x[:, i : i + h * sh : sh, j : j + w * sw : sw] for i in range(kh) for j in range(kw)]
  return jnp.concatenate(views, axis=-1)
