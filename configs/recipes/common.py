"""What the recipes share: CIFAR-10 under the noise that papers report on, and a short budget.

A recipe's form is the noise, then what to change, joined by dashes: `--config=configs/recipes/elr.py:sym50-short-held`.

  noise    sym20, sym50, sym80 (inclusive, as DivideMix, ELR and SOP define it), asym40 (the CIFAR-10 map),
           aggre, random1, worse (human labels, CIFAR-10N), clean
  -short   the small fast CNN, 20 epochs (-short8: 8), one-cycle: minutes on two cores instead of hours. The strategy
           plans its own phases, and its warm-ups and ramps shrink in proportion, to no less than two epochs
  -held    no CIFAR-10 test set at hand: images and labels from $NOISYJAX_DATA, rows [45000, 50000) are the test part

Without `-held` the images come from TFDS (`cifar10`, prepared beforehand) and its own test set scores the run; the
label files of CIFAR-10N come from $NOISYJAX_DATA/cifar10n either way. 5 % of the training rows, with noisy labels,
choose the epoch; every run reports the last epoch, the mean of the last ten and the oracle too.

What a recipe's docstring calls measured is `benchmarks/leaderboard.py`'s, with bfloat16 convolutions, small widths and
the code of that day (benchmarks/README.md says what changed since): how a method begins. What it calls published is of
full budgets, none of which was run here.
"""

from configs import base
from noisyjax.data import home
from noisyjax.system.errors import check_choice

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
INJECTED = {'sym20': 0.2, 'sym50': 0.5, 'sym80': 0.8, 'asym40': 0.4}
HUMAN = {'aggre': 'aggre_label.npy', 'random1': 'random_label1.npy', 'worse': 'worse_label.npy'}
NOISE = (*INJECTED, *HUMAN, 'clean')
LEAST_EPOCHS = 2  # of a short form's warm-ups and ramps


def get_config(form: str):
  """Returns base's config on CIFAR-10 under the form's noise, with crop and flip.

  Raises:
    UserError: an unknown noise or option, with those there are.
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
  """Returns the form's noise."""
  return (form or 'worse').split('-')[0]


def short(form: str) -> int:
  """Returns the epochs of the form's short budget: 20, or those that it names ("short8"); 0 without one."""
  found = [option.removeprefix('short') for option in form.split('-') if option.startswith('short')]
  return int(found[0] or 20) if found else 0


def rate(form: str) -> float:
  """Returns the part of the labels that the form's noise makes wrong, for methods that must be told it."""
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
  """Reveals the true labels of `count` training rows, for methods that need some; the run says so in its result."""
  c.data.trusted = count / (42750 if 'held' in form.split('-') else 47500)
  return c


def sgd(c, lr: float, decay: float = 5e-4, momentum: float = 0.9, nesterov: bool = False) -> None:
  """Sets PyTorch's SGD, whose weight decay spares nothing."""
  c.optim.name, c.optim.kernels_only = 'sgd', False
  c.optim.lr, c.optim.decay, c.optim.momentum, c.optim.nesterov = lr, decay, momentum, nesterov


def steps(c, *milestones: float, factor: float = 0.1) -> None:
  """Multiplies the learning rate by `factor` at these epochs of a phase."""
  c.schedule.name, c.schedule.milestones, c.schedule.factor = 'step', tuple(map(float, milestones)), factor


def baseline(c) -> None:
  """Sets cross-entropy's recipe (ReScience 2026), which methods without one of their own take over."""
  c.model.name, c.epochs, c.batch_size = 'resnet34', 100, 128
  sgd(c, 0.1)
  steps(c, 60)


def adam_then_linear(c) -> None:
  """Sets co-teaching's training: Adam, from epoch 80 of 200 on linearly to 0 and with b1 = 0.1; no augmentation."""
  c.model.name, c.epochs, c.batch_size = 'cnn9', 200, 128
  c.optim.name, c.optim.lr, c.optim.decay = 'adam', 1e-3, 0.0
  c.augment.weak = ()
  # A one-cycle that peaks at once falls linearly. The phase's epochs start at 0 again, and its ramps must not.
  name = c.strategy.name
  done = {f'strategy.{name}.{field}': 0.0 for field in ('ramp', 'warmup') if field in c.strategy[name]}
  linear = {'schedule.name': 'one_cycle', 'schedule.peak': 0.0, 'optim.b1': 0.1}
  c.phases = ((name, 80, {'schedule.name': 'constant'}), (name, 120, linear | done))


def semi_supervised(c, form: str) -> None:
  """Sets USB's training of semi-supervised methods, with 4,000 true labels and no others; see `fixmatch.py`."""
  trusted(c, form, 4000)
  c.strategy[c.strategy.name].source = 'verified'
  c.model.name, c.batch_size = 'resnet18', 64
  c.epochs, c.steps_per_epoch = 1024, 1024
  sgd(c, 0.03, nesterov=True)
  c.optim.kernels_only = True
  c.schedule.name, c.schedule.final = 'cosine', 0.195
  c.ema = 0.999


def finish(c, form: str, *epochs: str):
  """Applies the form's short budget, if it asks for one, to a recipe that is otherwise complete.

  Args:
    c: the recipe. form: the form.
    epochs: the strategy's fields that count epochs, and so shrink.
  """
  if not short(form):
    return c
  own, part = c.strategy[c.strategy.name], short(form) / c.epochs
  for field in epochs:
    few = min(own[field], max(own[field] * part, LEAST_EPOCHS))
    own[field] = round(few) if isinstance(own[field], int) else float(few)
  c.phases = ()  # a recipe's own are about its optimizer
  c.epochs, c.augment.pad = short(form), 4
  c.model.name = 'small_cnn'
  c.batch_size = 128
  sgd(c, 0.1, nesterov=True)
  c.optim.clip = 0.0
  c.schedule.name, c.schedule.peak, c.schedule.final = 'one_cycle', 0.2, 0.0
  c.augment.weak = ('crop', 'flip')
  return c


def finish_semi_supervised(c, form: str, steps: int):
  """Applies the short budget to `semi_supervised`'s recipes: `steps` an epoch make the passes cross-entropy's."""
  c = finish(c, form)
  if short(form):
    c.batch_size, c.steps_per_epoch, c.ema = 64, steps, 0.99
  return c


def published(source: str, **numbers: str) -> dict[str, str]:
  """Returns each noise's numbers with their source."""
  return {noise: f'{number} ({source})' for noise, number in numbers.items()}


RERUN = 'best / last test epoch, mean of 3 seeds; KlemenVovk/noisy-labels, ReScience 2026'
TABLE = "best test epoch; the table of DivideMix's paper as ProMix carries it on"
CIFAR_N = 'best test epoch; the CIFAR-10N paper, Wei et al. 2022'
POSTER = 'WRN-28-10, 1,000 trusted rows; the Meta-Weight-Net poster, 2019'
USB = '4,000 true labels and no others, WRN-28-2, mean of 3 seeds; microsoft/Semi-supervised-learning'
