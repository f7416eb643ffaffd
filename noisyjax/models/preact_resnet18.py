"""PreAct ResNet-18: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016; 11,171,274 parameters.

The version that the noisy-label literature trains on CIFAR (DivideMix, ELR+, SOP, PES, SSR). The 3x3 stem has
normalization and ReLU, unlike that of kuangliu/pytorch-cifar. Shortcut convolutions take the normalized and activated
input of their block, and no normalization follows them. Departure from the paper: no normalization or ReLU after the
last block. For initialization, padding and batch normalization see `noisyjax.models.resnet`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from noisyjax.models.resnet import Block, block_plan, layers, pool_and_classify, stage_widths


class PreActBlock(Block):
  """A block norm-relu-conv-norm-relu-conv with a shortcut.

  Attributes:
    act: the activation, in place of ReLU.
    raw: whether the first convolution and the shortcut take the input as it is.
  """

  act: Callable[[jax.Array], jax.Array] = nn.relu
  raw: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = x if self.raw else self.act(self.norm(name='norm1')(x))
    if self.strides != (1, 1) or x.shape[-1] != self.features:
      x = self.conv(self.features, 1, self.strides, name='shortcut_conv')(y)
    y = self.conv(self.features, 3, self.strides, name='conv1')(y)
    y = self.act(self.norm(name='norm2')(y))
    return x + self.conv(self.features, 3, name='conv2')(y)


class Model(nn.Module):
  """A stem, four stages of two blocks, global average pooling and a linear head.

  Attributes:
    classes: number of classes.
    width: factor on the channels 64, 128, 256, 512.
    initial: initialization of the convolutions: 'he' (He-normal over fan-out) or 'torch' (PyTorch's default).
    dtype: compute type of the convolutions.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  classes: int
  width: float = 1.0
  initial: str = 'he'
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 512 * width]`, both float32, of images `[B, H, W, C]`."""
    conv, norm = layers(self.conv, self.dtype, train, self.initial)
    widths = stage_widths(self.width)
    x = nn.relu(norm(name='stem_norm')(conv(widths[0], 3, name='stem_conv')(images)))
    for name, features, strides in block_plan((2, 2, 2, 2), widths):
      x = PreActBlock(features, strides, conv, norm, name=name)(x)
    return pool_and_classify(x, self.classes)
