"""PES: trains early layers longer on noisy labels than late ones, then all layers on confident rows.

  python launch.py train --config=configs/recipes/pes.py:worse --workdir=runs/pes-worse

Official (tmllab/2021_NeurIPS_PES, PES_cs.py): ResNet-18, SGD 0.1, weight decay 1e-4, batch size 128, 200 epochs,
learning rate divided by 10 at 100 and 150; stages of 25, 7 and 5 epochs, the last two with Adam 1e-4. The 200 epochs do
not include these two: here, there are 212 epochs, and the milestones count from the start of the last phase. As
there, the renewed layers are not trained after their stage. In a short form, half of the epochs are stages, and all
layers are trained after them.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 26.3 % (n = 1), 54 s. The code has changed
since.

Published: no known result for these noise types.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'pes'
  common.network(c, 'resnet18')
  c.epochs = 212
  c.strategy.pes.frozen = True
  common.sgd(c, 0.1, decay=1e-4)
  common.steps(c, 75, 125)
  if common.hundred(form):
    common.network(c, 'resnet34')
    c.strategy.pes.warmup = 30
    common.steps(c, 70, 120)
  return common.finish(c, form)
