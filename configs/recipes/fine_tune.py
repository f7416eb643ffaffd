"""Fine-tuning: cross-entropy on the given labels, then on trusted rows only.

  python launch.py train --config=configs/recipes/fine_tune.py:worse --workdir=runs/fine-tune-worse

1,000 trusted rows. This is a baseline of the Meta-Weight-Net paper, which gives no settings; ours are those of
Meta-Weight-Net (ResNet-18, SGD 0.1, momentum 0.9, batch size 100, 120 epochs, learning rate divided by 10 at 80 and
100). The last tenth of the epochs has 100 steps per epoch on trusted rows, with learning rate 0.01.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 61.2 % (n = 1), 47 s. The code has changed
since.

Published: 80.47 and 78.75 at 40 and 60 % uniform noise, from 68.07 and 53.12 (the Meta-Weight-Net poster: 1,000 trusted
and 49,000 other training rows, 40 epochs, WRN-28-10 with CIFAR stem; best or last not said).
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = common.published(common.POSTER, clean='95.65')


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.trusted(c, form, 1000)
  c.strategy.name = 'fine_tune'
  c.model.name = 'resnet18'
  c.epochs, c.batch_size = 120, 100
  common.sgd(c, 0.1)
  common.steps(c, 80, 100)
  c = common.finish(c, form)
  last = max(c.epochs // 10, 1)
  c.phases = (('naive', max(c.epochs - last, 1), {}), ('fine_tune', last, {'optim.lr': 0.01, 'steps_per_epoch': 100}))
  return c
