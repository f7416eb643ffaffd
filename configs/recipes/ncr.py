"""NCR: predictions are drawn to those of rows with similar features.

  python launch.py train --config=configs/recipes/ncr.py:worse --workdir=runs/ncr-worse

Official (google-research/scenic, mini-ImageNet): ResNet-18, SGD 0.1, momentum 0.9, decay 5e-4, batch 128, 130 epochs,
cosine after 5 epochs of linear rise; weight 0.3 from epoch 10, temperature 2; 100 neighbours at 40 % noise, 10 at 20 %,
5 at 80 %. Here, where neighbours come from all rows and not from a batch of 128, 10 whatever the noise. There are no
official settings for CIFAR-10.

Measured: nothing yet.

Published: no figure for these noises at hand.
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
