"""Clean-subset correction: a corrector is trained on trusted rows and relabels the others; a new network learns all.

  python launch.py train --config=configs/recipes/clean_correction.py:worse --workdir=runs/clean-correction-worse

All settings are ours (those of the course project, with its 10,000 trusted rows, are in configs/weak_supervision):
4,000 trusted rows, as for FixMatch; corrections need a confidence of 0.95; ResNet-18, SGD 0.1 with Nesterov momentum,
batch size 128, one-cycle schedule, 60 epochs per phase. An epoch of the corrector has 330 steps, about as many as an
epoch of all rows.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 35.8 ± 0.3 % (n = 3), 45 s. The code has changed
since.

Published: none.
"""

from configs.recipes import common
from noisyjax.engine.strategy import halves

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  common.trusted(c, form, 4000)
  c.strategy.name = 'clean_correction'
  c.strategy.clean_correction.confidence = 0.95
  c.model.name = 'resnet18'
  c.epochs = 120
  common.sgd(c, 0.1, nesterov=True)
  c.schedule.name, c.schedule.peak = 'one_cycle', 0.2
  c = common.finish(c, form)
  half, rest = halves(c.epochs)
  corrector = {'rows': 'trusted', 'labels': 'verified', 'steps_per_epoch': 330}
  c.phases = (('naive', half, corrector), ('clean_correction', rest, {'reset': 'all'}))
  return c
