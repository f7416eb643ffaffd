"""Confident learning: rows whose labels out-of-sample predictions flag as wrong are dropped; a new network is trained.

  python launch.py train --config=configs/recipes/confident_learning.py:worse --workdir=runs/confident-learning-worse

Official: four folds, pruned by noise rate; ResNet-50, 350 epochs. Ours: cross-entropy's recipe (ResNet-34, SGD 0.1,
batch 128, 100 epochs, divided by 10 at 60) for the four networks side by side, and again for the last one.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 54.4 % (n = 1), 130 s.

Published: no figure for these noises; at other 20 and 40 % noise, pruning and training anew, without co-teaching,
85.85 / 85.51 and 81.01 / 79.12 (best / last, the authors' logs).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'confident_learning'
  c.strategy.fold_networks.networks = 4
  c.strategy.confident_learning.filter = 'prune_by_noise_rate'
  common.baseline(c)
  c.epochs = 200
  return common.finish(c, form)
