"""ResNet-18: 11,173,962 parameters for 10 classes with the CIFAR stem, 11,689,512 for 1,000 with the ImageNet stem."""

from typing import ClassVar

from noisyjax.models.resnet import ResNet


class Model(ResNet):
  """ResNet-18."""

  blocks: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)
