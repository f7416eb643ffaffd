"""Shared parts of the recipes: CIFAR-10 with the noise types that papers report, and a short budget.

A form is a noise type and options, joined by dashes: `--config=configs/recipes/elr.py:sym50-short-held`.

  noise    sym20, sym50, sym80 (inclusive, as DivideMix, ELR and SOP define it), asym40 (the CIFAR-10 map),
           aggre, random1, worse (human labels, CIFAR-10N), clean
  -short   the small fast CNN, 20 epochs (-short8: 8), one-cycle: minutes on two cores instead of hours. The strategy
           plans its own phases, and its warm-ups and ramps shrink in proportion, but to no less than two epochs
  -held    without the CIFAR-10 test set: images and labels from $NOISYJAX_DATA, rows [45000, 50000) are the test part

Without `-held`, the images come from TFDS (`cifar10`, which must be prepared) and its test set scores the run. The
label files of CIFAR-10N are read from $NOISYJAX_DATA/cifar10n in both cases. 5 % of the training rows, with noisy
labels, select the epoch; every run also reports the last epoch, the mean of the last ten and the oracle.

"Measured" results in the docstrings of recipes are from `benchmarks/leaderboard.py`, with bfloat16 convolutions, small
widths and the code of that time (benchmarks/README.md lists later changes). They show the first epochs of a method.
"Published" results are from full budgets, which have not been run here.
"""

import math

from configs import base
from noisyjax.data import home
from noisyjax.system.errors import check_choice

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
INJECTED = {'sym20': 0.2, 'sym50': 0.5, 'sym80': 0.8, 'asym40': 0.4}
HUMAN = {'aggre': 'aggre_label.npy', 'random1': 'random_label1.npy', 'worse': 'worse_label.npy'}
NOISE = (*INJECTED, *HUMAN, 'clean')
LEAST_EPOCHS = 2  # minimum length of warm-ups and ramps in short forms


def get_config(form: str):
  """Returns the config for CIFAR-10 with the noise of the form, and crop and flip.

  Raises:
    UserError: the form has an unknown noise type or option.
  """
  noise, *options = (form or 'worse').split('-')
  check_choice('form', noise, NOISE)
  for option in options:
    check_choice('form', option.rstrip('0123456789') if option.startswith('short') else option, ('short', 'held'))
  c = base.get_config()
  c.data.val = '0.05'
  c.data.verified = ''
  if 'held' in options:
    c.data.source = 'images'
    c.data.path = home.path('weak_supervision')
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
    c.noise.path = home.path('cifar10n', HUMAN[noise])
    c.noise.order = '' if 'held' in options else home.path('cifar10n', 'image_order_c10.npy')
  return c


def noise(form: str) -> str:
  """Returns the noise type of a form."""
  return (form or 'worse').split('-')[0]


def short(form: str) -> int:
  """Returns the epochs of a form's short budget, 20 or the given number ("short8"); 0 if the form has none."""
  found = [option.removeprefix('short') for option in form.split('-') if option.startswith('short')]
  return int(found[0] or 20) if found else 0


def rate(form: str) -> float:
  """Returns the fraction of labels that the noise of a form makes wrong, for methods that must be told it."""
  wrong = {
    'sym20': 0.18,
    'sym50': 0.45,
    'sym80': 0.72,
    'asym40': 0.2,
    'aggre': 0.0901,
    'random1': 0.1723,
    'worse': 0.4021,
  }
  return wrong.get(noise(form), 0.0)


def trusted(c, form: str, count: int = 1000):
  """Reveals the true labels of `count` training rows, for methods that need them; the result of the run reports it."""
  c.data.trusted = count / (42750 if 'held' in form.split('-') else 47500)
  return c


def sgd(c, lr: float, decay: float = 5e-4, momentum: float = 0.9, nesterov: bool = False) -> None:
  """Sets PyTorch's SGD, whose weight decay applies to all parameters."""
  c.optim.name, c.optim.kernels_only = 'sgd', False
  c.optim.lr, c.optim.decay, c.optim.momentum, c.optim.nesterov = lr, decay, momentum, nesterov


def steps(c, *milestones: float, factor: float = 0.1) -> None:
  """Multiplies the learning rate by `factor` at these epochs of a phase."""
  c.schedule.name, c.schedule.milestones, c.schedule.factor = 'step', tuple(map(float, milestones)), factor


def baseline(c) -> None:
  """Sets the recipe of cross-entropy (ReScience 2026), also for methods without a published recipe."""
  c.model.name, c.epochs, c.batch_size = 'resnet34', 100, 128
  sgd(c, 0.1)
  steps(c, 60)


def adam_then_linear(c) -> None:
  """Sets the training of co-teaching: Adam, no augmentation; from epoch 80 of 200 a linear decay to 0 and b1 = 0.1."""
  c.model.name, c.epochs, c.batch_size = 'cnn9', 200, 128
  c.optim.name, c.optim.lr, c.optim.decay = 'adam', 1e-3, 0.0
  c.augment.weak = ()
  # A one-cycle schedule with its peak at 0 decays linearly. The second phase counts epochs from 0: without ramps.
  name = c.strategy.name
  done = {f'strategy.{name}.{field}': 0.0 for field in ('ramp', 'warmup') if field in c.strategy[name]}
  linear = {'schedule.name': 'one_cycle', 'schedule.peak': 0.0, 'optim.b1': 0.1}
  c.phases = ((name, 80, {'schedule.name': 'constant'}), (name, 120, linear | done))


def semi_supervised(c, form: str) -> None:
  """Sets the training of semi-supervised methods in USB, with only 4,000 true labels; see `fixmatch.py`."""
  trusted(c, form, 4000)
  c.strategy[c.strategy.name].source = 'verified'
  c.model.name, c.batch_size = 'resnet18', 64
  c.epochs, c.steps_per_epoch = 1024, 1024
  sgd(c, 0.03, nesterov=True)
  c.optim.kernels_only = True
  c.schedule.name, c.schedule.final = 'quarter_cosine', math.cos(7 * math.pi / 16)  # cos(7πk/16K)
  c.ema = 0.999


def finish(c, form: str, *epochs: str):
  """Applies the short budget of a form, if it has one, to a complete recipe.

  Args:
    c: config of the recipe.
    form: form of the recipe.
    *epochs: fields of the strategy that are numbers of epochs, which shrink in proportion.
  """
  if not short(form):
    return c
  own, part = c.strategy[c.strategy.name], short(form) / c.epochs
  for field in epochs:
    few = min(own[field], max(own[field] * part, LEAST_EPOCHS))
    own[field] = round(few) if isinstance(own[field], int) else float(few)
  c.phases = ()  # the phases of a recipe only change its optimizer
  c.epochs, c.augment.pad = short(form), 4
  c.model.name = 'small_cnn'
  c.batch_size = 128
  sgd(c, 0.1, nesterov=True)
  c.optim.clip = 0.0
  c.schedule.name, c.schedule.peak, c.schedule.final = 'one_cycle', 0.2, 0.0
  c.augment.weak = ('crop', 'flip')
  return c


def finish_semi_supervised(c, form: str, steps: int):
  """Applies the short budget to semi-supervised recipes; `steps` per epoch give as many passes as cross-entropy."""
  c = finish(c, form)
  if short(form):
    c.batch_size, c.steps_per_epoch, c.ema = 64, steps, 0.99
  return c


def published(source: str, **numbers: str) -> dict[str, str]:
  """Returns the published results by noise type, each with its source."""
  return {noise: f'{number} ({source})' for noise, number in numbers.items()}


RERUN = 'best / last test epoch, mean of 3 seeds; KlemenVovk/noisy-labels, ReScience 2026'
TABLE = "best test epoch; the table of DivideMix's paper as ProMix carries it on"
CIFAR_N = 'best test epoch; the CIFAR-10N paper, Wei et al. 2022'
POSTER = 'WRN-28-10, 1,000 trusted rows; the Meta-Weight-Net poster, 2019'
USB = '4,000 true labels and no others, WRN-28-2, mean of 3 seeds; microsoft/Semi-supervised-learning'
