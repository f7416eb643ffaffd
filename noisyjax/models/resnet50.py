"""ResNet-50: 25,557,032 parameters for 1,000 classes with the ImageNet stem, which is its default."""

from typing import ClassVar

from noisyjax.models.resnet import Bottleneck, ResNet


class Model(ResNet):
  blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
  block: ClassVar[type[Bottleneck]] = Bottleneck

  stem: str = 'imagenet'
