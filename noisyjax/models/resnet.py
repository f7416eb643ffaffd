"""Residual networks, version 1: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

Layers, padding and parameter counts are torchvision's with the 'imagenet' stem (7x7 convolution of stride 2, 3x3 max
pooling) and kuangliu/pytorch-cifar's with the 'cifar' stem (3x3 convolution); shortcuts that change the shape are
1x1 convolutions (option B). Convolutions have no bias and start He-normal over fan-out, as torchvision's do (most code
of the noisy-label literature leaves PyTorch's default, 2.4 times smaller in a 3x3 kernel).

Batch normalization keeps 0.9 of its running statistics a step (PyTorch's momentum 0.1) and adds epsilon 1e-5.
Departures from PyTorch: the running variance is that of the batch, not n / (n - 1) times it; the head's bias starts
at zero.

`dtype` is what convolutions compute in; parameters, statistics, features and logits stay float32.
"""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.system.errors import check_choice

he_normal_fan_out = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
# PyTorch's default for a linear layer: uniform in ±1 / sqrt(fan_in).
head_init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')

Layer = Callable[[jax.Array], jax.Array]


class BasicBlock(nn.Module):
  """conv-norm-relu-conv-norm, plus the shortcut, then relu."""

  features: int
  strides: tuple[int, int]
  conv: Callable[..., Layer]
  norm: Callable[..., Layer]

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = self.conv(self.features, 3, self.strides, name='conv1')(x)
    y = nn.relu(self.norm(name='norm1')(y))
    y = self.conv(self.features, 3, name='conv2')(y)
    y = self.norm(name='norm2')(y)
    if y.shape != x.shape:
      x = self.conv(self.features, 1, self.strides, name='shortcut_conv')(x)
      x = self.norm(name='shortcut_norm')(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Stem, four stages of basic blocks, global average, linear head; a model is a subclass that names its `blocks`.

  Attributes:
    classes: number of classes.
    stem: 'cifar' (3x3, keeps the size) or 'imagenet' (7x7 and pooling, a quarter of the size).
    width: multiplies the channels 64, 128, 256, 512.
    dtype: compute type of the convolutions.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  blocks: ClassVar[tuple[int, ...]]  # basic blocks in each stage

  classes: int
  stem: str = 'cifar'
  width: float = 1.0
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 512 * width]`, both float32, of images `[B, H, W, C]`."""
    conv, norm = layers(self.conv, self.dtype, train)
    widths = stage_widths(self.width)
    check_choice('model.stem', self.stem, ('cifar', 'imagenet'))
    if self.stem == 'cifar':
      x = conv(widths[0], 3, name='stem_conv')(images)
      x = nn.relu(norm(name='stem_norm')(x))
    else:
      x = conv(widths[0], 7, (2, 2), name='stem_conv')(images)
      x = nn.relu(norm(name='stem_norm')(x))
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    for name, features, strides in block_plan(self.blocks, widths):
      x = BasicBlock(features, strides, conv, norm, name=name)(x)
    return pool_and_classify(x, self.classes)


def layers(kind: str, dtype: str, train: bool) -> tuple[Callable[..., Layer], Callable[..., Layer]]:
  """Returns what makes the convolutions and what makes the normalizations of a network of this kind, type and mode."""

  def conv(features: int, size: int, strides: tuple[int, int] = (1, 1), name: str | None = None) -> Layer:
    # PyTorch pads both sides alike; 'SAME' would put a strided convolution's one odd row at the far side only.
    padding = ((size // 2, size // 2),) * 2
    return Conv(
      features,
      (size, size),
      strides,
      padding,
      use_bias=False,
      kernel_init=he_normal_fan_out,
      dtype=jnp.dtype(dtype),
      kind=kind,
      name=name,
    )

  norm = functools.partial(
    nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=jnp.dtype(dtype)
  )
  return conv, norm


def stage_widths(width: float) -> list[int]:
  """Returns the channels of the four stages: 64, 128, 256, 512 times `width`, at least 1."""
  return [max(1, round(features * width)) for features in (64, 128, 256, 512)]


def block_plan(blocks: tuple[int, ...], widths: list[int]) -> list[tuple[str, int, tuple[int, int]]]:
  """Returns name, channels and strides of every block; each stage but the first halves the image at its start."""
  return [
    (f'stage{stage + 1}_block{block + 1}', features, (2, 2) if stage > 0 and block == 0 else (1, 1))
    for stage, (count, features) in enumerate(zip(blocks, widths))
    for block in range(count)
  ]


def pool_and_classify(x: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
  """Ends a network, in its compact scope: global average, then the float32 layer 'head' → logits, features."""
  features = x.astype(jnp.float32).mean(axis=(1, 2))  # [B, F]
  return nn.Dense(classes, kernel_init=head_init, name='head')(features), features
