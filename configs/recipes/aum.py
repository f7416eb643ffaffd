"""AUM: rows that two networks learn later than labels known to be wrong are dropped; then a new network is trained.

  python launch.py train --config=configs/recipes/aum.py:worse --workdir=runs/aum-worse

Official (asappresearch/aum, small_dataset_aum.sh): ResNet-32 (here ResNet-18, which departs), SGD 0.1 with Nesterov
momentum, decay 1e-4: 150 epochs of batch 64 at a constant rate for measuring, then 300 of batch 256, divided by 10 at
half and at three quarters.

Measured, `worse-short8-held` on its first 10,000 rows, two cores: last 50.0 % (n = 1), 93 s.

Published: no figure for these noises at hand.
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
