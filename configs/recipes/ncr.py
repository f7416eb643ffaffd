"""NCR: draws each prediction to those of rows with similar features.

  python launch.py train --config=configs/recipes/ncr.py:worse --workdir=runs/ncr-worse

Official (google-research/scenic, mini-ImageNet): ResNet-18, SGD 0.1, momentum 0.9, weight decay 5e-4, batch size 128,
130 epochs, cosine schedule after a linear warm-up of 5 epochs; alpha 0.3 from epoch 10, temperature 2; 10, 100 and 5
neighbors at 20, 40 and 80 % noise. Departure: 10 neighbors for all noise rates, because they come from all rows instead
of a batch of 128. There are no official settings for CIFAR-10.

Measured: not yet.

Published: no known result for these noise types.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'ncr'
  own = c.strategy.ncr
  own.alpha, own.neighbours, own.temperature, own.power, own.warmup = 0.3, 10, 2.0, 1.0, 10.0
  c.model.name = 'resnet18'
  c.epochs = 130
  common.sgd(c, 0.1)
  c.schedule.name, c.schedule.warmup, c.schedule.final = 'cosine', 5.0, 0.0
  return common.finish(c, form, 'warmup')
