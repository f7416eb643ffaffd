"""The network of curves.py: three blocks of 3x3 convolution, batch norm, relu and 2x2 max pooling, then mean and head.

PyTorch's copy is `torch_curves.Plain`. The default widths are a quarter of 64, 128, 256.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.pool import max_pool_2x2


class Model(nn.Module):
  """The network.

  Attributes:
    classes: number of classes.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
    widths: channels of each block.
  """

  classes: int
  conv: str = 'plain'
  widths: tuple[int, ...] = (16, 32, 64)

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits [B, classes] and features [B, widths[-1]] of normalized images [B, H, W, C]."""
    x = images.astype(jnp.float32)
    for i, width in enumerate(self.widths):
      same = ((1, 1), (1, 1))
      x = Conv(width, (3, 3), (1, 1), same, False, nn.initializers.he_normal(), kind=self.conv, name=f'conv{i}')(x)
      x = nn.relu(nn.BatchNorm(not train, momentum=0.9, name=f'norm{i}')(x))
      x = max_pool_2x2(x)
    features = x.mean((1, 2))
    return nn.Dense(self.classes, name='head')(features), features
