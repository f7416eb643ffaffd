"""A folder or zip of photos, some of them labeled: trains a network from scratch, in minutes on two free cores.

  python launch.py train --config=configs/photos.py --config.data.path=photos.zip --config.data.labels=labels.csv \
    --workdir=runs/photos

Settings depend on the data: photos are cropped to squares of their median short side, at most 64 pixels. An epoch is
one pass over the labeled photos, but at least 50 steps, so that 20 epochs are at least 1,000 steps. A fifth of the
labeled photos, stratified by label, is used for validation. The run reports the last epoch, because the validation set
is too small to compare epochs. There is no test part; `launch.py predict --labels` scores other photos.
Expected on chihuahua_muffin (200 labels): 89.7 ± 0.6 % of 240 test photos at the last epoch, 3 seeds, 3.3 minutes each.

Unlabeled photos (`undefined`, an empty cell, or no row) are allowed and not used for training by default.
`--config.strategy.name=fixmatch` uses them, for 3.7 times the passes: there 90.7 ± 1.0 % at the last epoch, one point
more, which is within the spread of the seeds. Pseudo-labels gain nothing. `benchmarks/photos.py` compares them
(benchmarks/README.md).

The form `pretrained` (`--config=configs/photos.py:pretrained`) trains a linear layer on features of EfficientNet-Lite0,
which was trained on ImageNet-1k; the report says so. It extracts the features once, from photos cut to squares of 224
pixels, and keeps them in the cache. Expected on chihuahua_muffin: see benchmarks/README.md.
"""

from configs import base
from noisyjax.system.errors import check_choice


def get_config(form: str = 'scratch'):
  """Returns the recipe.

  Args:
    form: 'scratch' or 'pretrained'.
  """
  check_choice('form', form, ('scratch', 'pretrained'))
  c = base.get_config()
  c.data.source = 'images'
  c.data.labels = 'labels.csv'
  c.data.verified = ''
  c.data.fit = 'crop'
  c.data.val, c.data.test = '0.2', ''
  c.strategy.fixmatch.ratio = 2
  c.strategy.pseudo_label.rounds = 1
  c.select = 'last'
  c.epochs = 20
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.eval_batch_size = 250
  c.optim.lr = 0.1
  c.schedule.name = 'one_cycle'
  c.schedule.peak = 0.2
  c.ema = 0.99
  if form == 'pretrained':
    c.data.features, c.model.name, c.optim.lr = 'efficientnet_lite0', 'linear', 0.5
  return c
