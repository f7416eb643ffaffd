"""ResNet-34: 21,282,122 parameters for 10 classes with the CIFAR stem, 21,797,672 for 1,000 with the ImageNet stem."""

from typing import ClassVar

from noisyjax.models.resnet import ResNet


class Model(ResNet):
  """ResNet-34."""

  blocks: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
