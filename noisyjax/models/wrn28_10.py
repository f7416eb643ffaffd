"""WRN-28-10: 36,479,194 parameters for 10 classes. Without dropout, as Meta-Weight-Net trains it."""

from noisyjax.models.wide_resnet import WideResNet


class Model(WideResNet):
  """WRN-28-10."""

  width: float = 10.0
