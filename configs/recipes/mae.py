"""MAE: the absolute error as loss, which is robust to label noise but slow to train.

  python launch.py train --config=configs/recipes/mae.py:worse --workdir=runs/mae-worse

No hyper-parameters. All else is ours: cross-entropy's recipe (ResNet-34, SGD 0.1, batch 128, 100 epochs, divided by 10
at 60).

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 41.0 % (n = 1), 68 s.

Published: no figure for these noises at hand.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'mae'
  common.baseline(c)
  return common.finish(c, form)
