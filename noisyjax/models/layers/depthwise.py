"""A depthwise convolution: each channel has a kernel of its own.

XLA's is slow on CPUs. Off the kind 'plain' it is written as a sum of shifted images, one a place of the kernel, which
XLA makes one loop of: 2 to 30 times as fast on two cores for the layers of EfficientNet-Lite0.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.models.layers.geometry import Pair, outputs


class Depthwise(nn.Module):
  """kernel [h, w, 1, C], float32, no bias; computes in `dtype`, with 'SAME' padding.

  Attributes:
    kernel: height and width of the kernel.
    strides: vertical and horizontal.
    kernel_init: of the kernel.
    dtype: of the computation.
    kind: 'plain' (XLA's own), or any other kind of `noisyjax.models.layers.conv`: the sum of shifted images.
  """

  kernel: Pair
  strides: Pair = (1, 1)
  kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32
  kind: str = 'plain'

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H', W', C]
    kernel = self.param('kernel', self.kernel_init, (*self.kernel, 1, x.shape[-1]), jnp.float32)
    convolve = xla if self.kind == 'plain' else shifted
    return convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)


def xla(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [h, w, 1, C] -> [B, H', W', C] by XLA's grouped convolution."""
  numbers = ('NHWC', 'HWIO', 'NHWC')
  return lax.conv_general_dilated(x, kernel, strides, 'SAME', None, None, numbers, feature_group_count=x.shape[-1])


def shifted(x: jax.Array, kernel: jax.Array, strides: Pair) -> jax.Array:
  """As `xla`, by a sum over the places of the kernel."""
  (height, width), (kh, kw), (sh, sw) = x.shape[1:3], kernel.shape[:2], strides
  (top, bottom), (left, right) = lax.padtype_to_pads((height, width), (kh, kw), strides, 'SAME')
  h, w = outputs(((height, width), (kh, kw), strides, ((top, bottom), (left, right))))
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)])
  x = lax.optimization_barrier(x)  # or the border is looked up once a place
  cut = lambda i, j: x[:, i : i + (h - 1) * sh + 1 : sh, j : j + (w - 1) * sw + 1 : sw]
  parts = [cut(i, j) * kernel[i, j, 0] for i in range(kh) for j in range(kw)]
  return functools.reduce(jnp.add, parts)
