"""The 9-layer CNN of co-teaching: Han et al., NeurIPS 2018 (arXiv 1804.06872), Table 2; 4,434,570 parameters.

The network has three groups of three 3x3 convolutions (128-128-128, 256-256-256, 512-256-128). Each convolution is
followed by batch normalization and LeakyReLU(0.01), and each of the first two groups by 2x2 max pooling and
channel-wise dropout. The third group is unpadded and followed by global average pooling. The initialization of the
weights and the constants of batch normalization are PyTorch's defaults, which the authors used.

Departures from the authors' code (bhanML/Co-teaching): dropout is off in evaluation (their `F.dropout2d` without
`training=` also drops channels at test time); biases start at zero; the running variance averages the biased variance
of the batches (PyTorch: the unbiased one).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.initial import torch_init
from noisyjax.models.layers.pool import max_pool_2x2
from noisyjax.system.errors import UserError


class Model(nn.Module):
  """Nine convolutions and a linear head.

  Attributes:
    classes: number of classes.
    dropout: fraction of channels dropped after each of the first two groups.
    dtype: compute type of convolutions and batch normalization.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  classes: int
  dropout: float = 0.25
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 128]`, both float32.

    Args:
      images: normalized images, `[B, H, W, C]`.
      train: whether dropout is active and batch normalization uses the statistics of the batch.

    Raises:
      UserError: the images are smaller than 28 x 28, so the output of the unpadded group would be empty.
    """
    height, width = images.shape[1:3]
    if min(height, width) < 28:
      raise UserError(
        f'model cnn9: images are {height} x {width}; its three unpadded layers need at least 28 x 28. Use '
        'larger images, or another model.name.'
      )
    dtype = jnp.dtype(self.dtype)

    def group(x: jax.Array, number: int, widths: tuple[int, ...], padding: str) -> jax.Array:
      for layer, features in enumerate(widths, 3 * number + 1):
        x = Conv(
          features, (3, 3), padding=padding, kernel_init=torch_init, dtype=dtype, kind=self.conv, name=f'conv{layer}'
        )(x)
        x = nn.BatchNorm(not train, momentum=0.9, epsilon=1e-5, dtype=dtype, name=f'norm{layer}')(x)
        x = nn.leaky_relu(x, 0.01)
      return x

    def pool(x: jax.Array) -> jax.Array:
      return Dropout(self.dropout, (1, 2))(max_pool_2x2(x), train)

    x = pool(group(images, 0, (128, 128, 128), 'SAME'))
    x = pool(group(x, 1, (256, 256, 256), 'SAME'))
    x = group(x, 2, (512, 256, 128), 'VALID')
    features = x.astype(jnp.float32).mean(axis=(1, 2))  # [B, 128]
    return nn.Dense(self.classes, kernel_init=torch_init, name='head')(features), features
