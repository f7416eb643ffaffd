"""Residual networks, version 1: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

With the 'imagenet' stem (7x7 convolution with stride 2, 3x3 max pooling), layers, padding and parameter counts are
those of torchvision; with the 'cifar' stem (3x3 convolution) those of kuangliu/pytorch-cifar. Shortcuts that change the
shape are 1x1 convolutions (option B). Convolutions have no bias and are initialized He-normal over fan-out, as in
torchvision, or by PyTorch's default (`initial`), which most code of the noisy-label literature keeps and which is 2.4
times smaller for a 3x3 kernel.

The running statistics of batch normalization decay by 0.9 per step (PyTorch's momentum 0.1); epsilon is 1e-5.
Departures from PyTorch: the running variance averages the biased variance of the batch (without n / (n - 1)); the bias
of the head starts at zero.

Convolutions compute in `dtype`; parameters, statistics, features and logits are float32.
"""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.initial import he_normal, torch_init
from noisyjax.models.weights.pretrained import Input
from noisyjax.system.errors import check_choice

INITS = {'he': he_normal, 'torch': torch_init}

Layer = Callable[[jax.Array], jax.Array]


class Block(nn.Module):
  """What the blocks of residual networks share.

  Attributes:
    features: output channels; of `Bottleneck`, the channels of its first two convolutions.
    strides: vertical and horizontal stride of the block.
    conv: returns a convolution of given channels and size.
    norm: returns a normalization.
  """

  features: int
  strides: tuple[int, int]
  conv: Callable[..., Layer]
  norm: Callable[..., Layer]


class BasicBlock(Block):
  """A block conv-norm-relu-conv-norm with a shortcut, followed by relu."""

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


class Bottleneck(Block):
  """1x1, 3x3 and 1x1 convolutions, each normalized, plus the shortcut, then ReLU; the last has 4 x `features` channels.

  The stride is in the 3x3 convolution, as in torchvision; in the paper it is in the first.
  """

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = nn.relu(self.norm(name='norm1')(self.conv(self.features, 1, name='conv1')(x)))
    y = nn.relu(self.norm(name='norm2')(self.conv(self.features, 3, self.strides, name='conv2')(y)))
    y = self.norm(name='norm3')(self.conv(4 * self.features, 1, name='conv3')(y))
    if y.shape != x.shape:
      x = self.conv(4 * self.features, 1, self.strides, name='shortcut_conv')(x)
      x = self.norm(name='shortcut_norm')(x)
    return nn.relu(x + y)


class ResNet(nn.Module):
  """A stem, four stages of blocks, global average pooling and a linear head; a subclass sets `blocks`.

  With the 'imagenet' stem, weights of torchvision and timm fit: both give their layers the same names.

  Attributes:
    blocks: number of blocks in each stage.
    block: the class of the blocks.
    input: the images that torchvision's and timm's weights are made for.
    classes: number of classes.
    stem: 'cifar' (3x3, keeps the image size) or 'imagenet' (7x7 and pooling, divides height and width by 4).
    width: factor on the channels 64, 128, 256, 512.
    initial: initialization of the convolutions: 'he' (He-normal over fan-out) or 'torch' (PyTorch's default).
    dtype: compute type of the convolutions.
    conv: kind of convolution, see `noisyjax.models.layers.conv`.
  """

  blocks: ClassVar[tuple[int, ...]]
  block: ClassVar[type[BasicBlock | Bottleneck]] = BasicBlock
  input: ClassVar[Input] = Input(224, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))

  classes: int
  stem: str = 'cifar'
  width: float = 1.0
  initial: str = 'he'
  dtype: str = 'float32'
  conv: str = 'plain'

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, F]`, both float32, of images `[B, H, W, C]`."""
    conv, norm = layers(self.conv, self.dtype, train, self.initial)
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
      x = self.block(features, strides, conv, norm, name=name)(x)
    return pool_and_classify(x, self.classes)

  @classmethod
  def order(cls) -> tuple[str, ...]:
    """Returns the blocks from input to output, see `models.protocol`."""
    return ('stem', *(name for name, _, _ in block_plan(cls.blocks, stage_widths(1))), 'head')

  @staticmethod
  def published_name(layer: str) -> str:
    """Returns what torchvision calls a layer of this network."""
    if '/' not in layer:
      return {'stem_conv': 'conv1', 'stem_norm': 'bn1', 'head': 'fc'}[layer]
    block, part = layer.split('/')
    stage, number = block.removeprefix('stage').split('_block')
    part = {'shortcut_conv': 'downsample.0', 'shortcut_norm': 'downsample.1'}.get(part, part.replace('norm', 'bn'))
    return f'layer{stage}.{int(number) - 1}.{part}'


def layers(kind: str, dtype: str, train: bool, init: str = 'he') -> tuple[Callable[..., Layer], Callable[..., Layer]]:
  """Returns two functions, which return the convolutions and the normalizations of a residual network.

  Args:
    kind: kind of convolution, see `noisyjax.models.layers.conv`.
    dtype: compute type.
    train: whether normalizations use the statistics of the batch, or else the running statistics.
    init: initialization of the convolutions, see `INITS`.
  """
  kernel_init = INITS[check_choice('model.initial', init, INITS)]

  def conv(features: int, size: int, strides: tuple[int, int] = (1, 1), name: str | None = None) -> Layer:
    # PyTorch pads both sides equally; with 'SAME', a strided convolution would pad the far side only.
    padding = ((size // 2, size // 2),) * 2
    return Conv(
      features,
      (size, size),
      strides,
      padding,
      use_bias=False,
      kernel_init=kernel_init,
      dtype=jnp.dtype(dtype),
      kind=kind,
      name=name,
    )

  norm = functools.partial(
    nn.BatchNorm, use_running_average=not train, momentum=0.9, epsilon=1e-5, dtype=jnp.dtype(dtype)
  )
  return conv, norm


def stage_widths(width: float) -> list[int]:
  """Returns the channels of the four stages: 64, 128, 256 and 512 times `width`, rounded, at least 1."""
  return [max(1, round(features * width)) for features in (64, 128, 256, 512)]


def block_plan(blocks: tuple[int, ...], widths: list[int]) -> list[tuple[str, int, tuple[int, int]]]:
  """Returns the name, channels and strides of each block; the first block of stages 2 to 4 halves the image."""
  return [
    (f'stage{stage + 1}_block{block + 1}', features, (2, 2) if stage > 0 and block == 0 else (1, 1))
    for stage, (count, features) in enumerate(zip(blocks, widths))
    for block in range(count)
  ]


def pool_and_classify(
  x: jax.Array, classes: int, init: Callable[..., jax.Array] = torch_init
) -> tuple[jax.Array, jax.Array]:
  """Applies global average pooling and the float32 layer 'head'; call it in the compact scope of a network.

  Args:
    x: activations [B, H, W, F].
    classes: number of classes.
    init: initialization of the head.

  Returns:
    Logits [B, classes] and features [B, F], both float32.
  """
  features = x.astype(jnp.float32).mean(axis=(1, 2))  # [B, F]
  return nn.Dense(classes, kernel_init=init, name='head')(features), features
