"""Model I of the seed notebook: a small Keras CNN on raw 0..255 images; 142,624 parameters on 32x32x3 and 10 classes.

Layers: batch normalization of the image, two tanh convolutions each followed by 2x2 max pooling, dropout 0.8, 30 ReLU
units, softmax (here: logits). As in Keras: Glorot-uniform kernels, zero biases, batch-norm momentum 0.99 and epsilon
1e-3, flattening in the order height, width, channel.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.pool import max_pool_2x2

glorot = nn.initializers.glorot_uniform()


class Model(nn.Module):
  """Model I.

  Attributes:
    classes: number of classes.
    dropout: dropout rate before the dense layers.
    dtype: compute type of all layers except the first normalization and the head.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  raw: ClassVar[bool] = True  # expects pixel values 0..255, not normalized

  classes: int
  dropout: float = 0.8
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 30]`, both float32, of raw images `[B, H, W, C]`."""
    dtype = jnp.dtype(self.dtype)

    # Computes the variance in two passes: for pixels up to 255, E[x^2] - E[x]^2 would suffer from cancellation.
    x = nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, use_fast_variance=False, name='norm')(images)
    x = jnp.tanh(Conv(32, (3, 3), kernel_init=glorot, dtype=dtype, kind=self.conv, name='conv1')(x))
    x = max_pool_2x2(x)
    x = jnp.tanh(Conv(64, (3, 3), kernel_init=glorot, dtype=dtype, kind=self.conv, name='conv2')(x))
    x = max_pool_2x2(x)
    x = x.reshape(len(x), -1)
    x = Dropout(self.dropout)(x, train)
    x = nn.relu(nn.Dense(30, kernel_init=glorot, dtype=dtype, name='dense')(x))
    features = x.astype(jnp.float32)  # [B, 30]
    return nn.Dense(self.classes, kernel_init=glorot, name='head')(features), features
