"""AUM: drops rows that two networks learn later than rows with known wrong labels, then trains a new network.

  python launch.py train --config=configs/recipes/aum.py:worse --workdir=runs/aum-worse

Official (asappresearch/aum, small_dataset_aum.sh): ResNet-32 (departure: ResNet-18), SGD with learning rate 0.1,
Nesterov momentum and weight decay 1e-4; 150 epochs of measuring with batch size 64 and a constant learning rate, then
300 epochs with batch size 256 and the learning rate divided by 10 after 50 % and 75 %.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 50.0 % (n = 1), 93 s. The code has changed
since.

Published: no known result for these noise types.
"""

from configs.recipes import common

PUBLISHED: dict[str, str] = {}


def get_config(form: str = 'worse'):
  c = common.get_config(form)
  c.strategy.name = 'aum'
  c.model.name = 'resnet18'
  c.epochs = 450
  common.sgd(c, 0.1, decay=1e-4, nesterov=True)
  common.steps(c, 150, 225)
  measure = {'schedule.name': 'constant', 'batch_size': 64}
  c.phases = (('aum_margins', 150, measure), ('aum', 300, {'reset': 'all', 'batch_size': 256}))
  return common.finish(c, form)
