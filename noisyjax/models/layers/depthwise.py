"""A depthwise convolution: each channel has its own kernel.

XLA's implementation is slow on CPUs. oneDNN's is the fastest, above all in its gradients. Where it is missing,
'matmul' computes a sum of shifted images, one per kernel position, which XLA fuses into one loop: on two cores it is 2
to 30 times as fast as XLA's convolution for the layers of EfficientNet-Lite0.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.models.layers import conv, onednn
from noisyjax.models.layers.geometry import Pair, outputs


class Depthwise(nn.Module):
  """A depthwise convolution with 'SAME' padding and no bias; its parameter is a float32 kernel [h, w, 1, C].

  Attributes:
    kernel: height and width of the kernel.
    strides: vertical and horizontal stride.
    kernel_init: initializer of the kernel.
    dtype: compute type.
    kind: a kind of `noisyjax.models.layers.conv`: 'plain' for XLA's convolution, 'matmul' for the sum of shifted
      images, 'onednn' and 'amx' for oneDNN, here with factors in the compute type.
  """

  kernel: Pair
  strides: Pair = (1, 1)
  kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32
  kind: str = 'plain'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H', W', C]
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, 1, x.shape[-1]), jnp.float32)
    return convolution(x.astype(self.dtype), kernel.astype(self.dtype), self.strides, self.kind)


def convolution(x: jax.Array, kernel: jax.Array, strides: Pair, kind: str) -> jax.Array:
  """Returns the depthwise convolution [B, H', W', C] of images and a kernel of the same type.

  Args:
    x: images [B, H, W, C].
    kernel: [h, w, 1, C].
    strides: vertical and horizontal stride.
    kind: as in `Depthwise`.
  """
  if kind == 'plain':
    return xla(x, kernel, strides)
  if kind == 'matmul' or not onednn.available(x.dtype.name):
    return shifted(x, kernel, strides)
  size, window = x.shape[1:3], kernel.shape[:2]
  rows, columns = lax.padtype_to_pads(size, window, strides, 'SAME')
  return conv.convolve(x, kernel, (size, window, strides, (rows, columns)), 'onednn', x.shape[-1])


def xla(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, 1, C] to [B, H', W', C] by XLA's grouped convolution."""
  numbers = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(x, kernel, strides, 'SAME', None, None, numbers, feature_group_count=x.shape[-1])


def shifted(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
  """Computes the same as `xla` by a sum over kernel positions."""
  (height, width), (kh, kw), (sh, sw) = x.shape[1:3], kernel.shape[:2], strides
  (top, bottom), (left, right) = lax.padtype_to_pads((height, width), (kh, kw), strides, 'SAME')
  h, w = outputs(((height, width), (kh, kw), strides, ((top, bottom), (left, right))))
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)])
  x = lax.optimization_barrier(x)  # otherwise XLA fuses the padding and recomputes it for each kernel position
  cut = lambda i, j: x[:, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
  parts = [cut(i, j) * kernel[i, j, 0] for i in range(kh) for j in range(kw)]
  return functools.reduce(jnp.add, parts)
