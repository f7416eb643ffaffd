"""GLC: estimates the transition matrix on trusted rows, and trains on them and, with corrected losses, on the others.

  python launch.py train --config=configs/recipes/glc.py:worse --workdir=runs/glc-worse

1,000 trusted rows, as in the comparison of the Meta-Weight-Net paper (the official script: a tenth of all rows).
Official (mmazeika/glc): WRN-40-2 with dropout 0.3 (departure: ResNet-18), SGD 0.1 with Nesterov momentum, weight decay
5e-4, batch size 128, two phases of 75 epochs, each with a cosine schedule to 0.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 39.6 ± 0.5 % (n = 3), 70 s. The code has changed
since.

Published: 88.28 and 83.49 at 40 and 60 % uniform noise (the Meta-Weight-Net poster: 1,000 trusted and 49,000 other
training rows, 40 epochs, WRN-28-10 with CIFAR stem; best or last not said).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.POSTER, clean='94.30')


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.trusted(c, form, 1000)
  c.strategy.name = 'glc'
  c.model.name = 'resnet18'
  c.epochs = 150
  common.sgd(c, 0.1, nesterov=True)
  c.schedule.name = 'cosine'
  return common.finish(c, form)
