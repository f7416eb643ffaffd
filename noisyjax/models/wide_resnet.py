"""Wide residual networks: Zagoruyko and Komodakis, BMVC 2016, as in their code and that of Meta-Weight-Net.

A 3x3 stem of 16 channels, three stages of pre-activation blocks, then normalization, activation, global average pooling
and a linear head. WRN-28-k has four blocks in each stage, and 16k, 32k and 64k channels. For initialization, padding
and batch normalization see `noisyjax.models.resnet`.
"""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax

from noisyjax.models.layers.initial import torch_init
from noisyjax.models.preact_resnet18 import PreActBlock
from noisyjax.models.resnet import layers, pool_and_classify

STEM = 16  # channels


class WideResNet(nn.Module):
  """A wide residual network; a subclass sets `width`.

  Attributes:
    blocks: number of blocks in each of the three stages: (depth - 4) / 6.
    slope: slope of the activation below 0.
    momentum: decay of the running statistics per step.
    epsilon: epsilon of the last normalization.
    raw: stages whose first block takes its input without normalization and activation.
    head: initialization of the head.
    classes: number of classes.
    width: factor on the channels 16, 32, 64 of the stages; the k of WRN-28-k.
    initial: initialization of the convolutions: 'he' (He-normal over fan-out) or 'torch' (PyTorch's default).
    dtype: compute type of the convolutions.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  blocks: ClassVar[int] = 4
  slope: ClassVar[float] = 0.0
  momentum: ClassVar[float] = 0.9
  epsilon: ClassVar[float] = 1e-5
  raw: ClassVar[tuple[int, ...]] = ()
  head: ClassVar[Callable[..., jax.Array]] = staticmethod(torch_init)

  classes: int
  width: float = 1.0
  initial: str = 'he'
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 64 * width]`, both float32, of images `[B, H, W, C]`."""
    conv, norm = layers(self.conv, self.dtype, train, self.initial)
    norm = functools.partial(norm, momentum=self.momentum)
    act = functools.partial(nn.leaky_relu, negative_slope=self.slope) if self.slope else nn.relu
    x = conv(STEM, 3, name='stem_conv')(images)
    for stage in (1, 2, 3):
      features = max(1, round(STEM * 2 ** (stage - 1) * self.width))
      for number in range(1, self.blocks + 1):
        strides = (2, 2) if stage > 1 and number == 1 else (1, 1)
        raw = number == 1 and stage in self.raw
        x = PreActBlock(features, strides, conv, norm, act, raw, name=f'stage{stage}_block{number}')(x)
    x = act(norm(epsilon=self.epsilon, name='last_norm')(x))
    return pool_and_classify(x, self.classes, self.head)
