"""MAE: the absolute error as loss, which is robust to label noise but slow to train.

  python launch.py train --config=configs/recipes/mae.py:worse --workdir=runs/mae-worse

The method has no hyper-parameters. All else is our choice: the recipe of cross-entropy (ResNet-34, SGD 0.1, batch size
128, 100 epochs, learning rate divided by 10 at 60).

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 41.0 % (n = 1), 68 s. The code has changed
since.

Published: no known result for these noise types.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'mae'
  common.baseline(c)
  return common.finish(c, form)
