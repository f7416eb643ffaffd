"""Confident learning: drops rows that out-of-sample predictions flag as wrong, then trains a new network.

  python launch.py train --config=configs/recipes/confident_learning.py:worse --workdir=runs/confident-learning-worse

Official: four folds, pruning by noise rate; ResNet-50, 350 epochs. Ours: the recipe of cross-entropy (ResNet-34, SGD
0.1, batch size 128, 100 epochs, learning rate divided by 10 at 60), first for the four networks side by side, then for
the last network.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 54.4 % (n = 1), 130 s. The code has changed
since.

Published: no known result for these noise types. With other noise at rates of 20 and 40 %, pruning and retraining
without co-teaching: 85.85 / 85.51 and 81.01 / 79.12 (best / last test epoch, logs of the authors: 50,000 training rows,
pruned, 350 epochs, ResNet-50, stem not said).
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
