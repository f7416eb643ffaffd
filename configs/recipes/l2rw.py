"""L2RW: weights each row by how much a training step on it lowers the loss of trusted rows.

  python launch.py train --config=configs/recipes/l2rw.py:worse --workdir=runs/l2rw-worse

1,000 trusted rows, as in the comparison of the Meta-Weight-Net paper (the official script: 100). Official
(uber-research/learning-to-reweight-examples): ResNet-32 (departure: ResNet-18), SGD 0.1, momentum 0.9, weight decay
2e-4 on kernels, shifts by 2 pixels and flips, batch size 100, 80,000 steps (160 epochs of all 50,000 rows), learning
rate divided by 10 at steps 40,000 and 60,000.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 52.5 % (n = 1), 132 s. The code has changed
since.

Published: 86.92 and 82.24 at 40 and 60 % uniform noise (the Meta-Weight-Net poster: 1,000 trusted and 49,000 other
training rows, 40 epochs, WRN-28-10 with CIFAR stem; best or last not said).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.POSTER, clean='92.38')


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.counted(c)
  common.trusted(c, form, 1000)
  c.strategy.name = 'l2rw'
  c.model.name = 'resnet18'
  c.epochs, c.batch_size = 160, 100
  common.sgd(c, 0.1, decay=2e-4)
  c.optim.kernels_only, c.augment.pad = True, 2
  common.steps(c, 80, 120)
  return common.finish(c, form)
