"""What the recipes of large published data sets share: photos of 224 pixels from a pack, ResNet-50."""

from configs import base, published
from configs.recipes import common

SIDE = 224
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of torchvision's models, in 0–1


def get_config(source: str, statistics: tuple = IMAGENET):
  """Returns the data of a source as `configs/published.py` sets them, at 224 pixels, and a network without a method.

  Args:
    source: name of the source.
    statistics: mean and standard deviation that normalise the pixels, per channel, in 0–1.
  """
  c = base.get_config()
  c.data = published.get_config(source).data
  c.data.size = SIDE
  c.model.name = 'resnet50'
  c.model.mean, c.model.std = (tuple(255.0 * value for value in values) for values in statistics)
  c.augment.weak = ('crop', 'flip')
  c.augment.pad = 16.0  # as far as windows of 224 pixels move in images of 256
  c.eval_batch_size = 250
  return c


def divide_mix(c, penalty: float) -> None:
  """Sets DivideMix on real noise: a warm-up of an epoch, then 80 epochs, the learning rate divided by 10 at 40."""
  c.strategy.name = 'divide_mix'
  c.strategy.divide_mix.alpha, c.strategy.divide_mix.lambda_u = 0.5, 0.0
  c.strategy.naive.penalty = penalty
  c.epochs, c.batch_size = 81, 32
  common.steps(c, 39)  # epochs of the second phase
  c.phases = (('naive', 1, {'strategy.naive.networks': 2, 'batch_size': 64}), ('divide_mix', 80, {}))
