"""ResNet-50. With the ImageNet stem, its default, it has 25,557,032 parameters for 1,000 classes."""

from typing import ClassVar

from noisyjax.models.resnet import Bottleneck, ResNet


class Model(ResNet):
  blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
  block: ClassVar[type[Bottleneck]] = Bottleneck

  stem: str = 'imagenet'
