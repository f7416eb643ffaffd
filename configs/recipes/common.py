"""What the recipes share: CIFAR-10 under the noise that papers report on, and a short budget.

A recipe's form is the noise, then what to change, joined by dashes: `--config=configs/recipes/elr.py:sym50-short-held`.

  noise    sym20, sym50, sym80 (inclusive, as DivideMix, ELR and SOP define it), asym40 (the CIFAR-10 map),
           aggre, random1, worse (human labels, CIFAR-10N), clean
  -short   the small fast CNN, 20 epochs (each phase in proportion), one-cycle: minutes on two cores instead of hours
  -held    no CIFAR-10 test set at hand: images and labels from $NOISYJAX_DATA, rows [45000, 50000) are the test part

Without `-held` the images come from TFDS (`cifar10`, prepared beforehand) and its own test set scores the run; the
label files of CIFAR-10N come from $NOISYJAX_DATA/cifar10n either way. 5 % of the training rows, with noisy labels,
choose the epoch; every run reports the last epoch, the mean of the last ten and the oracle too.
"""

import os
from pathlib import Path

from configs import base
from noisyjax.errors import UserError, check_choice

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
INJECTED = {'sym20': 0.2, 'sym50': 0.5, 'sym80': 0.8, 'asym40': 0.4}
HUMAN = {'aggre': 'aggre_label.npy', 'random1': 'random_label1.npy', 'worse': 'worse_label.npy'}
NOISE = (*INJECTED, *HUMAN, 'clean')
SHORT_EPOCHS = 20


def get_config(form: str):
  """Returns base's config on CIFAR-10 under the form's noise, with crop and flip.

  Raises:
    UserError: an unknown noise or option, with those there are.
  """
  noise, *options = (form or 'worse').split('-')
  check_choice('form', noise, NOISE)
  for option in options:
    check_choice('form', option, ('short', 'held'))
  c = base.get_config()
  c.data.val = '0.05'
  c.data.verified = ''
  folder = Path(os.environ.get('NOISYJAX_DATA', '../shared/data'))
  if 'held' in options:
    c.data.source = 'images'
    c.data.path = str(folder / 'weak_supervision')
    c.data.classes = CLASSES
    c.data.labels = c.data.truth = 'true_labels.npy'
    c.data.train, c.data.test = '0:45000', '45000:50000'
  else:
    c.data.source, c.data.name, c.data.test = 'tfds', 'cifar10', 'source'
  if noise in INJECTED:
    c.noise.kind = 'asymmetric' if noise == 'asym40' else 'symmetric_inclusive'
    c.noise.rate = INJECTED[noise]
    c.noise.map = ('cifar10',) if noise == 'asym40' else ()
  elif noise in HUMAN:
    c.noise.kind = 'file'
    c.noise.path = str(folder / 'cifar10n' / HUMAN[noise])
    c.noise.order = '' if 'held' in options else str(folder / 'cifar10n' / 'image_order_c10.npy')
  return c


def rate(form: str) -> float:
  """Returns the part of the labels that the form's noise makes wrong, for methods that must be told it."""
  noise = (form or 'worse').split('-')[0]
  wrong = {
    'sym20': 0.18,
    'sym50': 0.45,
    'sym80': 0.72,
    'asym40': 0.2,
    'aggre': 0.0901,
    'random1': 0.1723,
    'worse': 0.4021,
  }
  return wrong.get(noise, 0.0)


def trusted(c, form: str, count: int = 1000):
  """Reveals the true labels of `count` training rows, for methods that need some; the run says so in its result."""
  c.data.trusted = count / (42750 if 'held' in form.split('-') else 47500)
  return c


def finish(c, form: str):
  """Applies the form's short budget, if it asks for one, to a recipe that is otherwise complete."""
  if 'short' not in form.split('-'):
    return c
  part = SHORT_EPOCHS / c.epochs
  for name, epochs, overrides in c.phases:
    if any(field.startswith('schedule.') for field in overrides):
      raise UserError(f'phases: {name!r} overrides its schedule; a short form cannot scale it.')
    del epochs
  c.phases = tuple((name, max(round(epochs * part), 1), overrides) for name, epochs, overrides in c.phases)
  c.epochs = SHORT_EPOCHS
  c.model.name = 'small_cnn'
  c.batch_size = 128
  c.optim.name, c.optim.lr, c.optim.decay, c.optim.nesterov = 'sgd', 0.1, 5e-4, True
  c.schedule.name, c.schedule.peak = 'one_cycle', 0.2
  c.augment.weak = ('crop', 'flip')
  return c
