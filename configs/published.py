"""A data set as it is published (docs/published_data.md): a ResNet-18 trained by cross-entropy on its given labels.

  python launch.py train --config=configs/published.py:animal10n --config.data.path=animal10n --workdir=runs/animal10n

The form is the source: cifar, idx, animal10n, clothing1m, webvision, cnwl or food101n. The parts are those of the data
set; where it has no validation part, 5 % of the training rows, with their given labels, select the epoch. Photos are
cropped to squares of 64 pixels, the size at which ANIMAL-10N is published; papers use 224 for the larger sets, from
pretrained weights. Other methods: `--config.strategy.name=elr`, or the fields of a recipe of `configs/recipes/`.

Nothing was measured here: of these data sets, only CIFAR-10 was available.
"""

from configs import base
from noisyjax.system.errors import check_choice

FORMS = ('cifar', 'idx', 'animal10n', 'clothing1m', 'webvision', 'cnwl', 'food101n')
NAMES = {'webvision': 'mini', 'cnwl': 'red_noise_nl_0.4'}
CHECKED = ('clothing1m', 'food101n')  # their validation parts have verified labels


def get_config(form: str = 'cifar'):
  """Returns the recipe.

  Args:
    form: name of the source.
  """
  c = base.get_config()
  c.data.source = check_choice('form', form, FORMS)
  c.data.name = NAMES.get(form, '')
  c.data.labels = c.data.verified = ''
  c.data.val, c.data.test = '0.05', 'source'
  if form in CHECKED:
    c.data.val_labels = 'verified'
  if form not in ('cifar', 'idx'):
    c.data.size, c.data.fit = 64, 'crop'
  c.model.name = 'resnet18'
  c.epochs, c.batch_size = 100, 128
  c.optim.lr, c.optim.nesterov = 0.1, True
  c.schedule.name, c.schedule.peak = 'one_cycle', 0.2
  return c
