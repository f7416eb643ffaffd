"""Model II of the seed notebook, which also serves as its label corrector: a Keras CNN on raw 0..255 images; 3,722,634
parameters (512 of them running statistics) on 32x32x3 and 10 classes.

Two unpadded 2x2 convolutions (128, 64) and a dense layer (64), each followed by ReLU, dropout 0.1 and batch
normalization, in this order; softmax (here: logits). As in Keras: Glorot-uniform kernels, zero biases, batch-norm
momentum 0.99 and epsilon 1e-3, flattening in the order height, width, channel.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.dropout import Dropout

glorot = nn.initializers.glorot_uniform()


class Model(nn.Module):
  """Model II.

  Attributes:
    classes: number of classes.
    dropout: dropout rate after each of the three hidden layers.
    dtype: compute type of all layers except the head.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  raw: ClassVar[bool] = True  # expects pixel values 0..255, not normalized

  classes: int
  dropout: float = 0.1
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 64]`, both float32, of raw images `[B, H, W, C]`."""
    dtype = jnp.dtype(self.dtype)

    def after(x: jax.Array, number: int) -> jax.Array:
      x = Dropout(self.dropout)(nn.relu(x), train)
      # Computes the variance in two passes: on raw images the mean of the activations is far larger than their spread.
      return nn.BatchNorm(
        not train, momentum=0.99, epsilon=1e-3, dtype=dtype, use_fast_variance=False, name=f'norm{number}'
      )(x)

    def conv(features: int, name: str) -> nn.Module:
      return Conv(features, (2, 2), padding='VALID', kernel_init=glorot, dtype=dtype, kind=self.conv, name=name)

    x = after(conv(128, 'conv1')(images), 1)
    x = after(conv(64, 'conv2')(x), 2)
    x = x.reshape(len(x), -1)
    x = after(nn.Dense(64, kernel_init=glorot, dtype=dtype, name='dense')(x), 3)
    features = x.astype(jnp.float32)  # [B, 64]
    return nn.Dense(self.classes, kernel_init=glorot, name='head')(features), features
