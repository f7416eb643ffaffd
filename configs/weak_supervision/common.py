"""The data of the weak-supervision recipes: 50,000 CIFAR-10 images with noisy labels, the first 10,000 also verified.

Each recipe has two forms, selected after a colon: `--config=configs/weak_supervision/model_1.py:full`.

* `benchmark` (the default): trains on rows [0, 45000) except 9,000-9,999, which are the validation rows with verified
  labels; rows [45000, 50000) are the test rows with true labels, used by the audit only.
* `full`: trains on all 50,000 rows (validation as above if the method uses it), for an external test folder.

The data lie in $NOISYJAX_DATA/weak_supervision, or where --config.data.path says: images.zip, noisy_labels.csv,
clean_labels.csv and true_labels.npy, as the course project's notebook has them.
"""

from configs import base
from noisyjax.data import home
from noisyjax.system.errors import check_choice

CLASSES = ('plane', 'car', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
FORMS = ('benchmark', 'full')


def get_config(form: str, validates: bool = True):
  """Returns the config for these data.

  Args:
    form: 'benchmark' or 'full'.
    validates: whether the method uses validation rows, so that the form 'full' keeps them.
  """
  check_choice('form', form or 'benchmark', FORMS)
  c = base.get_config()
  c.data.source = 'images'
  c.data.path = home.path('weak_supervision')
  c.data.classes = CLASSES
  c.data.val_labels = 'verified'
  c.data.train, c.data.val, c.data.test = '0:45000', '9000:10000', '45000:50000'
  c.data.truth = 'true_labels.npy'
  if form == 'full':
    c.data.train, c.data.test, c.data.truth = ':', '', ''
    c.data.val = c.data.val if validates else ''
  return c


def keras(c):
  """Sets the Keras defaults that the seed uses: no augmentation, no weight decay, constant learning rate."""
  c.augment.weak = ()
  c.optim.lr = 1e-3
  c.optim.decay = 0.0
  c.optim.eps = 1e-7
  c.schedule.name = 'constant'
  c.select = 'last'
  return c


def corrected(c, first: int, then: int, lr: float = 0.1):
  """Sets clean-subset correction with the given labels: soft labels p(true | image, given), new at every epoch.

  Args:
    c: config, changed in place.
    first: epochs on the verified rows.
    then: epochs on all rows.
    lr: learning rate at the start of these, from which it falls.
  """
  c.strategy.name = 'clean_correction'
  c.strategy.clean_correction.soft = True
  c.strategy.clean_correction.posterior = True
  c.strategy.clean_correction.every_epoch = True
  c.phases = (
    ('naive', first, {'rows': 'trusted', 'labels': 'verified'}),
    ('clean_correction', then, {'optim.lr': lr, 'schedule.peak': 0.0}),
  )
  return c
