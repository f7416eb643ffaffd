"""A small fast CNN for two-core CPUs: the airbench network (Jordan 2024, arXiv:2404.00498) with fewer channels.

A frozen 2x2 layer whitens image patches. Three blocks of two 3x3 convolutions follow; the first convolution of each is
pooled before its batch norm, so that norm and activation process a quarter of the pixels. Logits are scaled down.
Departures: fewer channels, flax's batch-norm constants with a learned scale, and a whitening layer without bias.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from noisyjax.models.layers.conv import Conv, convolution, kinds
from noisyjax.models.layers.pool import max_pool_2x2


class Model(nn.Module):
  """The small CNN.

  Attributes:
    classes: number of classes.
    dtype: compute type of all layers except the head.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
    widths: channels of each block. Each block halves every side of the image that has at least two pixels.
    scale: factor on the logits; keeps the predictions soft early in training.
    mirror: whether a prediction is the mean over the image and its mirror image, as in airbench.
  """

  classes: int
  dtype: str = 'float32'
  conv: str = 'plain'
  widths: tuple[int, ...] = (32, 96, 192)
  scale: float = 1 / 9
  mirror: bool = False

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits [B, classes] and features [B, widths[-1]], both float32, of normalized images [B, H, W, C]."""
    both = self.mirror and not train
    if both:
      images = jnp.concatenate([images, images[:, :, ::-1]])
    # The filters are a statistic, not a parameter, so that no optimizer, weight decay or reset changes them.
    filters = self.variable('batch_stats', 'whiten', jnp.eye, 4 * images.shape[-1])
    both_signs = jnp.concatenate([filters.value, -filters.value], -1)  # the activation removes one sign of each filter
    # Whitening takes small differences of large numbers, for which products in bfloat16 are too inaccurate.
    x = whiten(
      images.astype(self.dtype), both_signs, 'onednn' if self.conv == 'amx' and self.conv in kinds() else self.conv
    )
    x = nn.gelu(x)  # [B, H-1, W-1, 8C]
    for width in self.widths:
      x = max_pool_2x2(self.layer(width, x, pooled=True))
      x = self.activate(x, train)
      x = self.activate(self.layer(width, x), train)
    features = x.max((1, 2)).astype(jnp.float32)
    logits = nn.Dense(self.classes, use_bias=False, name='head')(features) * self.scale
    if both:
      logits, features = (a.reshape(2, -1, a.shape[-1]).mean(0) for a in (logits, features))
    return logits, features

  def layer(self, width: int, x: jax.Array, pooled: bool = False) -> jax.Array:
    """Applies a 3x3 convolution; if it is to be `pooled`, without the odd last row or column that pooling drops."""
    rows, columns = ((1, 0 if pooled and n > 1 and n % 2 else 1) for n in x.shape[1:3])
    return Conv(width, (3, 3), (1, 1), (rows, columns), False, identity_first, dtype=self.dtype, kind=self.conv)(x)

  def activate(self, x: jax.Array, train: bool) -> jax.Array:
    """Applies batch norm and GELU."""
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.dtype)
    return nn.gelu(norm(x))

  def calibrate(self, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """Returns `variables` with the whitening filters set for the 2x2 patches of images [N, H, W, C]."""
    return {**variables, 'batch_stats': {**variables['batch_stats'], 'whiten': whitening(images)}}


def whiten(x: jax.Array, filters: jax.Array, conv: str) -> jax.Array:
  """Projects the 2x2 patches of x [B, H, W, C] on filters [4C, F] -> [B, H-1, W-1, F]; a side of 1 pixel keeps it."""
  kernel = filters.astype(x.dtype).reshape(2, 2, x.shape[-1], -1)
  with jax.default_matmul_precision('highest'):  # on GPUs, XLA would otherwise round the factors to TF32
    rows, columns = ((0, int(n == 1)) for n in x.shape[1:3])
    return convolution(x, kernel, (1, 1), (rows, columns), conv)


def whitening(images: jax.Array | np.ndarray, floor: float = 5e-4) -> jax.Array | np.ndarray:
  """Returns filters, float32 [4C, 4C], that project 2x2 patches on their principal axes and scale these to variance 1.

  The columns are the filters. Patches are not centered. The filters are computed in float64 on the host, because the
  error of float32 sums over millions of pixels exceeds the small variances. Images with non-finite values give filters
  of NaN.

  Args:
    images: [N, H, W, C].
    floor: added to the variances, so that directions without signal are not amplified.
  """
  if not isinstance(images, jax.core.Tracer):
    return _whitening(np.asarray(images), floor)
  shape = jax.ShapeDtypeStruct((4 * images.shape[-1],) * 2, np.float32)
  return jax.pure_callback(functools.partial(_whitening, floor=floor), shape, images, vmap_method='sequential')


def _whitening(images: np.ndarray, floor: float) -> np.ndarray:
  """Computes `whitening` on the host."""
  images = np.asarray(images)  # a callback passes a JAX array
  images = np.pad(images, [(0, 0), *((0, int(n == 1)) for n in images.shape[1:3]), (0, 0)])  # as in `whiten`
  count, h, w, channels = images.shape
  total, size = np.zeros((4 * channels, 4 * channels)), max(1, 2**17 // (h * w))
  for start in range(0, count, size):  # in parts, because the patches of all images would be a run's largest array
    part = images[start : start + size].astype(np.float64)
    views = [part[:, i : h - 1 + i, j : w - 1 + j] for i in (0, 1) for j in (0, 1)]
    patches = np.concatenate(views, -1).reshape(-1, 4 * channels)
    total += patches.T @ patches
  if not np.isfinite(total).all():
    return np.full(total.shape, np.nan, np.float32)
  variance, axes = np.linalg.eigh(total / max(1, count * (h - 1) * (w - 1)))
  # The signs of eigh's axes are arbitrary: the largest entry of each is made positive.
  largest = np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0)
  return (axes * np.sign(largest) / np.sqrt(np.maximum(variance, 0) + floor)).astype(np.float32)


def identity_first(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
  """Returns LeCun-normal kernels [h, w, in, out] whose first outputs copy the inputs (`dirac` in airbench)."""
  h, w, inputs, outputs = shape
  kernel = nn.initializers.lecun_normal()(key, shape, dtype)
  n = min(inputs, outputs)
  return kernel.at[..., :n].set(0).at[h // 2, w // 2, :, :n].set(jnp.eye(inputs, n, dtype=dtype))
