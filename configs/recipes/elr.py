"""ELR: a running mean of its own predictions regularizes the network towards what it learned early.

  python launch.py train --config=configs/recipes/elr.py:worse --workdir=runs/elr-worse

Official (shengliu66/ELR): ResNet-34, SGD 0.02, weight decay 1e-3, batch size 128. Symmetric noise: beta 0.7, strength
3, 150 epochs, warm restarts every 10 epochs from the full learning rate down to a twentieth. Asymmetric noise: beta
0.9, strength 1, 120 epochs, learning rate divided by 100 at 40 and 80. Human labels: as symmetric noise. With warm
restarts, the mean of the last ten epochs is far below the last epoch.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 62.0 ± 0.2 % (n = 3), 63 s. The code has changed
since.

Published (worse, best / last test epoch): 87.89 / 87.83, of 120 epochs; `PUBLISHED` says the protocol.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = (
  common.published(
    common.protocol(
      'shengliu66/ELR, README', common.NOT_SAID, '150 (asym40: 120)', 'ResNet-34 with CIFAR stem', '45,000'
    ),
    sym20='91.12',
    sym80='80.69',
    asym40='90.12',
  )
  | common.published(common.rerun('120'), aggre='93.00 / 92.94', random1='92.20 / 92.12', worse='87.89 / 87.83')
  | common.published(common.rerun('150'), c100_clean='75.64 / 75.48', c100_noisy='63.72 / 63.48')
)


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.counted(c, asymmetric='independent' if common.hundred(form) else 'per_class')
  c.strategy.name = 'elr'
  c.told = ('kind of noise',)  # values in this recipe depend on these
  common.network(c, 'resnet34')
  common.sgd(c, 0.02, decay=1e-3)
  if common.hundred(form):
    c.strategy.elr.beta, c.strategy.elr.strength = 0.9, 7.0
    c.epochs = 150
    common.steps(c, 80, 120, factor=0.01)
  elif common.noise(form) == 'asym40':
    c.strategy.elr.beta, c.strategy.elr.strength = 0.9, 1.0
    c.epochs = 120
    common.steps(c, 40, 80, factor=0.01)
  else:
    c.strategy.elr.beta, c.strategy.elr.strength = 0.7, 3.0
    c.epochs = 150
    c.schedule.name, c.schedule.restart, c.schedule.final = 'warm_restarts', 10.0, 0.05
  return common.finish(c, form)
