"""Shared parts of the recipes: CIFAR-10 and CIFAR-100 with the noise types that papers report, and a short budget.

A form is a noise type and options, joined by dashes: `--config=configs/recipes/elr.py:sym50-short-held`. With `c100-`
before it, it is of CIFAR-100: `elr.py:c100-sym50-short`.

  noise    sym20, sym50, sym80, sym90 (inclusive, as DivideMix, ELR and SOP define it), asym40 (the CIFAR-10 map;
           CIFAR-100: the next class of the superclass), inst20, inst40 (instance-dependent, Xia et al. 2020),
           aggre, random1, worse (human labels, CIFAR-10N), noisy (CIFAR-100N), clean
  -short   the small fast CNN, 20 epochs (-short8: 8), one-cycle: minutes on two cores instead of hours. The strategy
           plans its own phases, and its warm-ups and ramps shrink in proportion, but to no less than two epochs
  -held    without the CIFAR-10 test set: images and labels from $NOISYJAX_DATA, rows [45000, 50000) are the test part

Without `-held`, the images come from TFDS (`cifar10`, which must be prepared) and its test set scores the run. The
label files of CIFAR-10N are read from $NOISYJAX_DATA/cifar10n in both cases. CIFAR-100 is read as it is published, from
$NOISYJAX_DATA/cifar-100-python, and CIFAR-100N from $NOISYJAX_DATA/CIFAR-100_human.pt. 5 % of the training rows, with
noisy labels, select the epoch; every run also reports the last epoch, the mean of the last ten and the oracle.

"Measured" results in the docstrings of recipes are from `benchmarks/leaderboard.py`, with bfloat16 convolutions, small
widths and the code of that time (benchmarks/README.md lists later changes). They show the first epochs of a method.
"Published" results are from full budgets, which have not been run here.
"""

import math

from configs import base
from noisyjax.data import home
from noisyjax.system.errors import check_choice

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
INJECTED = {'sym20': 0.2, 'sym50': 0.5, 'sym80': 0.8, 'asym40': 0.4, 'sym90': 0.9, 'inst20': 0.2, 'inst40': 0.4}
KINDS = {'sym': 'symmetric_inclusive', 'asym': 'asymmetric', 'inst': 'instance'}
HUMAN = {'aggre': 'aggre_label.npy', 'random1': 'random_label1.npy', 'worse': 'worse_label.npy'}
WRONG = {'aggre': 0.0901, 'random1': 0.1723, 'worse': 0.4021, 'noisy': 0.402, 'clean': 0.0}  # fraction of the labels
NOISE = (*INJECTED, *HUMAN, 'clean')
NOISE_100 = (*INJECTED, 'noisy', 'clean')
LEAST_EPOCHS = 2  # minimum length of warm-ups and ramps in short forms


def get_config(form: str):
  """Returns the config for CIFAR-10 with the noise of the form, and crop and flip.

  Raises:
    UserError: the form has an unknown noise type or option.
  """
  many, known = hundred(form), noise(form)
  check_choice('form', known, NOISE_100 if many else NOISE)
  options = (form or 'worse').split('-')[1 + many :]
  for option in options:
    held = () if many else ('held',)
    check_choice('form', option.rstrip('0123456789') if option.startswith('short') else option, ('short', *held))
  c = base.get_config()
  c.data.val = '0.05'
  c.data.verified = ''
  if many:
    c.data.source, c.data.path, c.data.test = 'cifar', home.path('cifar-100-python'), 'source'
    c.data.labels = ''
  elif 'held' in options:
    c.data.source = 'images'
    c.data.path = home.path('weak_supervision')
    c.data.classes = CLASSES
    c.data.labels = c.data.truth = 'true_labels.npy'
    c.data.train, c.data.test = '0:45000', '45000:50000'
  else:
    c.data.source, c.data.name, c.data.test = 'tfds', 'cifar10', 'source'
  if known in INJECTED:
    c.noise.kind = KINDS[known.rstrip('0123456789')]
    c.noise.rate = INJECTED[known]
    c.noise.map = ('cifar100' if many else 'cifar10',) if known == 'asym40' else ()
  elif known == 'noisy':
    c.noise.kind, c.noise.path, c.noise.column = 'file', home.path('CIFAR-100_human.pt'), 'noisy_label'
  elif known in HUMAN:
    c.noise.kind = 'file'
    c.noise.path = home.path('cifar10n', HUMAN[known])
    c.noise.order = '' if 'held' in options else home.path('cifar10n', 'image_order_c10.npy')
  return c


def hundred(form: str) -> bool:
  """Returns whether a form is of CIFAR-100."""
  return (form or 'worse').split('-')[0] == 'c100'


def noise(form: str) -> str:
  """Returns the noise type of a form; that of "c100" alone is "noisy"."""
  first, *rest = (form or 'worse').split('-')
  return (rest or ['noisy'])[0] if first == 'c100' else first


def human(form: str) -> bool:
  """Returns whether the labels of a form are those that people gave, or the original ones."""
  return noise(form) not in INJECTED


def short(form: str) -> int:
  """Returns the epochs of a form's short budget, 20 or the given number ("short8"); 0 if the form has none."""
  found = [option.removeprefix('short') for option in form.split('-') if option.startswith('short')]
  return int(found[0] or 20) if found else 0


def rate(form: str) -> float:
  """Returns the fraction of labels that the noise of a form makes wrong, for methods that must be told it."""
  known, many = noise(form), hundred(form)
  if known.startswith('sym'):
    return round(INJECTED[known] * (0.99 if many else 0.9), 4)
  if known == 'asym40':
    return 0.4 if many else 0.2  # of CIFAR-10's classes, the map flips one half
  return INJECTED.get(known, WRONG.get(known, 0.0))


def counted(c, symmetric: str = 'exact', asymmetric: str = 'exact') -> None:
  """Sets how the official code of a method counts the rows that injected noise draws; see `noisyjax.data.noise`."""
  c.noise.count = {'symmetric_inclusive': symmetric, 'asymmetric': asymmetric}.get(c.noise.kind, 'independent')


def trusted(c, form: str, count: int = 1000, by: str = 'given'):
  """Reveals the true labels of `count` training rows, for methods that need them; the result of the run reports it.

  Args:
    c: config of the recipe.
    form: form of the recipe.
    count: number of rows.
    by: "given" or "true": labels whose classes have equal shares of these rows.
  """
  c.data.trusted_by = by
  c.data.trusted = count / (42750 if 'held' in form.split('-') else 47500)
  return c


def network(c, name: str) -> None:
  """Sets a residual network with PyTorch's default initialization, which the official code keeps."""
  c.model.name = name
  c.model[name].initial = 'torch'


def rotated(c) -> None:
  """Sets the views of HanxunH's code for CIFAR-100."""
  c.augment.weak, c.augment.rotation = ('crop', 'flip', 'rotate'), 20.0


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


def loss_correction(c, form: str) -> None:
  """Sets the training of forward and backward correction: cross-entropy, then as long with the corrected loss."""
  many = hundred(form)
  c.model.name, c.epochs = 'resnet34', 300 if many else 240
  sgd(c, 0.1, decay=2e-3 if many else 2e-4)
  c.optim.kernels_only = True
  steps(c, *((80, 120) if many else (40, 80)))
  if many:
    c.strategy[c.strategy.name].percentile = 100.0


def adam_then_linear(c, first: int) -> None:
  """Sets the training of co-teaching: Adam, no augmentation, 200 epochs.

  The strategy has `official` on: the loss of co-teaching and co-teaching+ is then divided twice, which is far too small
  for another optimizer than Adam.

  Args:
    c: config of the recipe.
    first: epoch from which the learning rate falls linearly to 0 and b1 is 0.1.
  """
  c.model.name, c.epochs, c.batch_size = 'cnn9', 200, 128
  c.optim.name, c.optim.lr, c.optim.decay = 'adam', 1e-3, 0.0
  c.augment.weak = ()
  # A one-cycle schedule with its peak at 0 decays linearly. The second phase counts epochs from 0: without ramps.
  name = c.strategy.name
  c.strategy[name].official = True
  done = {f'strategy.{name}.{field}': 0.0 for field in ('ramp', 'warmup') if field in c.strategy[name]}
  linear = {'schedule.name': 'one_cycle', 'schedule.peak': 0.0, 'optim.b1': 0.1}
  c.phases = ((name, first, {'schedule.name': 'constant'}), (name, c.epochs - first, linear | done))


def semi_supervised(c, form: str) -> None:
  """Sets the training of semi-supervised methods in USB, with only 4,000 true labels; see `fixmatch.py`."""
  trusted(c, form, 4000, by='true')
  c.strategy[c.strategy.name].source = 'verified'
  c.model.name, c.batch_size = 'wrn28_2', 64
  c.epochs, c.steps_per_epoch = 1024, 1024
  sgd(c, 0.03, decay=1e-3 if hundred(form) else 5e-4, nesterov=True)
  c.optim.kernels_only = True
  c.schedule.name, c.schedule.final = 'quarter_cosine', math.cos(7 * math.pi / 16)  # cos(7πk/16K)
  c.augment.weak = ('reflect_crop', 'flip')
  c.augment.strong = ('reflect_crop', 'flip', 'rand_augment', 'random_cutout')
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
  # Official loss scales are for Adam, `together` and `fmix` cost passes, and short stages hardly train renewed layers.
  for switch in {'official', 'together', 'fmix', 'frozen'} & set(own):
    own[switch] = False
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


def published(protocol: str, **numbers: str) -> dict[str, str]:
  """Returns the published results by noise type (`c100_sym50` is of c100-sym50), each with its `protocol`."""
  return {noise.replace('_', '-'): f'{number} ({protocol})' for noise, number in numbers.items()}


def protocol(source: str, reading: str, epochs: str, network: str, rows: str = '50,000') -> str:
  """Returns a sentence on how a quoted number came about; "not said" where the source does not say it.

  Args:
    source: paper or repository.
    reading: which test accuracy is quoted: of the best test epoch, of the last epoch, …
    epochs: length of the training.
    network: architecture, with its stem.
    rows: number of training rows.
  """
  return f'{reading}; {rows} training rows, {epochs} epochs, {network}; {source}'


def rerun(epochs: str, network: str = 'ResNet-34') -> str:
  """Returns the protocol of the rerun's original configurations.

  The other logs of that repository, of its own "benchmark" (ImageNet stem, 5 % of the rows taken away for noisy
  validation, test accuracy at its best epoch), are lower by up to 9 points and are never quoted here.
  """
  source = 'mean of 3 seeds, logs of the original configurations, KlemenVovk/noisy-labels, ReScience 2026'
  return protocol(source, 'best / last test epoch', epochs, f'{network} with CIFAR stem')


def table(
  epochs: str = 'not said how many', rows: str = '50,000', network: str = 'PreAct-ResNet-18', by: str = 'ProMix'
) -> str:
  """Returns the protocol of the table that DivideMix's paper began, read in the README of `by` (ProMix or SSR)."""
  source = f"the table of DivideMix's paper as {by} carries it on"
  return protocol(source, 'best test epoch', epochs, f'{network} with CIFAR stem', rows)


NOT_SAID = 'best or last not said'
CIFAR_N = protocol('the CIFAR-10N paper, Wei et al. 2022', 'best test epoch', '100', 'ResNet-34, stem not said')
CIFAR_100N = protocol(
  'the CIFAR-10N paper as ProMix quotes it', 'best test epoch', 'not said how many', 'network and stem not said'
)
POSTER = protocol(
  'the Meta-Weight-Net poster, 2019', NOT_SAID, '40', 'WRN-28-10 with CIFAR stem', '1,000 trusted and 49,000 other'
)
USB = protocol(
  'mean of 3 seeds, microsoft/Semi-supervised-learning',
  NOT_SAID,
  '1,024 (of 1,024 steps)',
  'WRN-28-2 with CIFAR stem',
  '4,000 labeled and 50,000 unlabeled',
)
