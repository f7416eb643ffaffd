"""Wrong labels, found in one call: confident learning on the predictions of networks that never saw the row's label.

The rows are parted into folds, stratified by label, exact duplicates together. For each fold a recipe is trained from
scratch on the other folds and predicts this one; its rows are held and their labels blanked, so that nothing that
trains can know them. Pixel mean and deviation (and a whitening layer) are of all images: no label is in them.
"""

import dataclasses
import functools
import warnings
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from noisyjax import config as configs, defaults, evaluate, interrupt, progress, step, train
from noisyjax.data import dataset, decode, pixels, split
from noisyjax.errors import UserError, check_choice
from noisyjax.estimate import confident
from noisyjax.log import log
from noisyjax.strategy import TrainData


@dataclasses.dataclass(frozen=True, eq=False)
class LabelIssues:
  """All labels, the most suspicious first; unlabeled rows come last.

  Attributes:
    row: int64 [N], the row in what was passed.
    given: int32 [N], -1 = unlabeled. suggested: int32 [N], the most likely class.
    score: float32 [N] in 0-1, higher = more likely wrong: one minus confident learning's quality score, by default
      (1 + largest other probability - probability of the label) / 2. NaN where unlabeled.
    flagged: bool [N], wrong by the filter, which estimates how many are: not a threshold on the score.
    probs: float32 [N, C], in the order of what was passed, as are `corrected` and the truth of `audit`.
    noise_rate: the estimated part of the labels that is wrong. classes: C names.
  """

  row: np.ndarray
  given: np.ndarray
  suggested: np.ndarray
  score: np.ndarray
  flagged: np.ndarray
  probs: np.ndarray
  noise_rate: float
  classes: tuple[str, ...]

  def columns(self) -> dict[str, np.ndarray]:
    """Returns the table by column, as `pandas.DataFrame` takes it."""
    return {name: getattr(self, name) for name in ('row', 'given', 'suggested', 'score', 'flagged')}

  def corrected(self) -> np.ndarray:
    """Returns the labels int32 [N] with the suggestion where one was flagged, in the order of what was passed."""
    out = np.empty_like(self.given)
    out[self.row] = np.where(self.flagged, self.suggested, self.given)
    return out

  def confusions(self) -> list[tuple[int, int, int]]:
    """Returns (given, suggested, how many) of the flagged labels, the most frequent pair first."""
    pairs = zip(self.given[self.flagged].tolist(), self.suggested[self.flagged].tolist())
    return sorted(((*pair, n) for pair, n in Counter(pairs).items()), key=lambda found: (-found[2], found))

  def audit(self, truth: np.ndarray) -> dict[str, float]:
    """Scores the detection against true labels int [N], -1 = unknown, in the order of what was passed.

    Returns:
      `evaluate.detection_audit`'s scores, and the accuracy of the labels as given and as corrected.
    """
    given, corrected, truth = _unsorted(self.row, self.given), self.corrected(), np.asarray(truth)
    if truth.shape != given.shape:
      raise UserError(f'truth: found shape {truth.shape}, expected {given.shape}, a label an image.')
    score = np.nan_to_num(_unsorted(self.row, self.score))
    found = evaluate.detection_audit(_unsorted(self.row, self.flagged), score, given, truth)
    known = (given >= 0) & (truth >= 0)
    for name, labels in (('accuracy_given', given), ('accuracy_corrected', corrected)):
      found[name] = float((labels == truth)[known].mean()) if known.any() else float('nan')
    return found

  def __str__(self) -> str:
    labeled, flagged = int((self.given >= 0).sum()), int(self.flagged.sum())
    lines = [
      f'{len(self.row):,} images, {labeled:,} labeled, {len(self.classes)} classes',
      f'flagged: {flagged:,} labels ({flagged / labeled:.1%}); estimated noise rate {self.noise_rate:.1%}',
    ]
    pairs = [f'{self.classes[i]} → {self.classes[j]} ({n:,})' for i, j, n in self.confusions()[:5]]
    return '\n'.join([*lines, *([f'most often (given → suggested): {", ".join(pairs)}'] if pairs else [])])


def find_label_issues(
  images: np.ndarray | None,
  labels: np.ndarray,
  *,
  probs: np.ndarray | None = None,
  folds: int = 5,
  config: ConfigDict | None = None,
  seed: int | None = None,
  kind: str = 'prune_by_noise_rate',
  score: str = 'normalized_margin',
  classes: Sequence[str] | None = None,
) -> LabelIssues:
  """Ranks labels by how likely they are wrong, and flags those that probably are.

  Args:
    images: [N, H, W, C] or [N, H, W], of any type `data.pixels.normalised` takes; not needed with `probs`.
    labels: int [N], -1 = unlabeled.
    probs: [N, C], your own probabilities, of a model that was not trained on the row; nothing is trained then.
    folds: how many networks are trained, each on all folds but one.
    config: how; None: `recipe`. Its data (but for `data.seed`, of the folds) and noise fields are not looked at.
    seed: of training and folds; None: the config's.
    kind: which filter flags, of `noisyjax.estimate.confident.FILTERS`. score: what ranks, of `SCORES` there.
    classes: names; None: numbers.
  Raises:
    UserError: naming what is wrong with images, labels or probs.
  """
  check_choice('kind', kind, confident.FILTERS)
  check_choice('score', score, confident.SCORES)
  labels = np.asarray(labels)
  count = len(labels) if images is None else len(images)
  if probs is not None:
    probs = _checked(probs, count, None if classes is None else len(classes))
    known = probs.shape[1]
  elif images is None:
    raise UserError('images: missing; expected images to train on, or probs.')
  else:
    whole = labels.size and labels.dtype.kind in 'iuf' and np.isfinite(labels).all()
    known = len(classes) if classes is not None else int(labels.max()) + 1 if whole else 0
  if classes is None and probs is None and known > count:
    row = int(labels.argmax())
    raise UserError(f'labels: row {row} is {labels[row]}; expected class numbers smaller than the {count} rows.')
  labels = dataset.labels_of(labels, count, known, 'labels')
  names = tuple(map(str, range(known) if classes is None else classes))
  carried = np.unique(labels[labels >= 0])
  if len(carried) < 2:
    found = f'all labels are {names[carried[0]]!r}' if len(carried) else f'all {count} rows are unlabeled'
    raise UserError(f'labels: {found}; expected labels of two classes or more.')
  if probs is None:
    probs = out_of_fold(images, labels, names, folds, config, seed)
  keep = labels >= 0
  flagged, quality, joint = map(np.asarray, _judged(probs, labels, keep, kind, score))
  wrong = 1 - quality  # NaN without a label
  order = np.argsort(-wrong, kind='stable')  # NaN last
  rate = 1 - float(np.trace(joint))
  suggested = probs.argmax(1).astype(np.int32)
  return LabelIssues(
    order, labels[order], suggested[order], wrong[order], flagged[order], probs, max(rate, 0.0), names
  )  # fmt: skip


@functools.partial(jax.jit, static_argnames=('kind', 'score'))
def _judged(probs, labels, keep, kind: str, score: str):
  return (
    confident.issues(probs, labels, keep, kind),
    confident.scores(probs, labels, score),
    confident.joint(probs, labels, keep),
  )


def recipe() -> ConfigDict:
  """Returns the config that `find_label_issues` trains by: a small CNN, 20 epochs of mixup, shifted images, no flips.

  mixup keeps the networks from learning wrong labels by heart, which costs most of the detection otherwise. Few images
  are walked several times an epoch, and small ones are shifted less.
  """
  c = defaults.get_config()
  c.batch_size = 64
  c.steps_per_epoch = -10
  c.model.small_cnn.widths = (32, 64, 128)
  c.optim.lr = 0.1
  c.mixup = 1.0
  c.augment.weak = ('crop',)
  c.data.val = c.data.test = ''
  return c


def out_of_fold(
  images: np.ndarray,
  labels: np.ndarray,
  classes: Sequence[str],
  folds: int = 5,
  config: ConfigDict | None = None,
  seed: int | None = None,
) -> np.ndarray:
  """Returns float32 [N, C]: each row's probabilities by networks trained on the other folds; arguments as above.

  Raises:
    UserError: bad images; a class with fewer images than folds; a bad config, or one that looks at validation: the
      only rows to validate on would be those that are judged; a loss that is not finite.
  """
  images, notes = pixels.normalised(images)
  for note in notes:
    log.warning('%s', note)
  ids = dataset.unique_ids([decode.digest(image) for image in images])
  _check_folds(labels, dataset.duplicate_groups(ids), classes, folds)
  config = recipe() if config is None else config.copy_and_resolve_references()
  config.data.val = ''
  if seed is not None:
    config.seed = config.data.seed = seed
  config = configs.check(config)
  if config.steps_per_epoch < 0:  # in rows of the whole data set, not of four fifths
    config.steps_per_epoch = max(-config.steps_per_epoch, -(-len(labels) // config.batch_size))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # of scikit-learn, where there are fewer unlabeled rows than folds
    parts = [held for _, held in split.folds(np.arange(len(labels)), labels, ids, folds, config.data.seed)]
  fewest = min(int((np.delete(labels, held) >= 0).sum()) for held in parts)
  if not config.steps_per_epoch and fewest < config.batch_size:  # here, for all folds together
    size = configs.fitting(config.batch_size, fewest)
    log.info('batch_size: %d is larger than the %d rows of a fold; %d is used.', config.batch_size, fewest, size)
    config.batch_size = size
  chunk = min(config.eval_batch_size, *map(len, parts))  # one shape for all folds
  total = folds * sum(epochs for _, epochs, _ in configs.phases(config))
  probs = np.zeros((len(labels), len(classes)), np.float32)
  clock, lines = progress.Clock(), progress.Lines()
  form = '{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} epochs [{elapsed}<{remaining}]'
  bar = tqdm(total=total, bar_format=form, mininterval=1.0, disable=None, dynamic_ncols=True)
  with interrupt.watched(), bar:
    for fold, held in enumerate(parts):
      bar.set_description(f'fold {fold + 1} of {folds}')
      probs[held] = _held_out(config, images, labels, len(classes), held, chunk, bar)
      clock.tick()
      lines.say(f'fold {fold + 1} of {folds}', clock.left(folds - fold - 1))
  return probs


def _held_out(config, images, labels, classes: int, held: np.ndarray, chunk: int, bar: tqdm) -> np.ndarray:
  """Returns the probabilities [n, C] of the held rows by a run that has neither their labels nor their images."""
  known = labels.copy()
  known[held] = -1
  model = configs.find_model(config.model.name)
  if not hasattr(model, 'apply'):  # a classic estimator
    model = configs.build_model(config, classes)
    return model.predict_proba(model.fit(images, known), images[held])
  data = TrainData(images, known, np.full(len(known), -1, np.int32), classes)
  free = np.ones(len(known), bool)
  free[held] = False
  plan = [dataclasses.replace(phase, rows=phase.rows & free) for phase in configs.plan(config, data)]
  state, _ = train.fit(plan, data, None, jax.random.key(config.seed), _Watch(bar))
  last = plan[-1]
  probs = step.predict(last.spec.net, last.strategy, state.current, images[held], chunk)[0]
  if not np.isfinite(probs).all():  # the last step overflowed: no loss has seen it
    raise UserError('The predictions are not finite. Try a smaller optim.lr, or optim.clip.')
  return probs


class _Watch:
  """The hooks of a fold: a bar, and a loss that is not finite."""

  def __init__(self, bar: tqdm):
    self._bar = bar

  def begin(self, phase, position, state) -> None:
    pass

  def step(self, phase, position, state, count: int, tick: int) -> None:
    self._bar.update(count / position.steps)
    interrupt.check('find', f'in {self._bar.desc.rstrip(": ")}; nothing is kept.')

  def epoch(self, phase, position, state, record: dict) -> None:
    if int(state.bad_step) >= 0:
      raise UserError(
        f'The loss is not finite at step {int(state.bad_step) + 1}. Try a smaller optim.lr, or optim.clip.'
      )


def _check_folds(labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], folds: int) -> None:
  if folds < 2:
    raise UserError(f'folds: found {folds}, expected 2 or more.')
  counts = [len(np.unique(groups[labels == c])) for c in range(len(classes))]
  few = [f'{name!r} ({n})' for name, n in zip(classes, counts) if n < folds]
  if few:
    raise UserError(
      f'labels: {len(few)} of {len(classes)} classes have fewer different images than folds={folds}: '
      f'{", ".join(few[:10])}{", …" if len(few) > 10 else ""}. Expected at least as many in each class.'
    )


def _checked(probs: np.ndarray, count: int, classes: int | None) -> np.ndarray:
  """Returns probabilities from outside as float32 [N, C], or raises UserError naming what is wrong with which row."""
  probs = np.asarray(probs)
  if probs.ndim != 2 or len(probs) != count or (classes or max(probs.shape[1], 2)) != probs.shape[1]:
    raise UserError(f'probs: found shape {probs.shape}; expected ({count}, {classes or "C"}), a row an image.')
  if probs.dtype.kind not in 'iuf':
    raise UserError(f'probs: have type {probs.dtype}; expected numbers from 0 to 1.')
  total = probs.sum(1, dtype=np.float64)
  for bad, what in (
    (~np.isfinite(probs).all(1), 'is not finite'),
    ((probs < 0).any(1), 'has a negative number'),
    (np.abs(total - 1) > 5e-3, 'does not sum to 1'),  # float16 rounds that much
  ):
    if bad.any():
      row = int(bad.argmax())
      shown = np.array2string(probs[row], precision=3, threshold=8)
      raise UserError(f'probs: row {row} (from 0) {what}: {shown} ({bad.sum()} such rows); expected probabilities.')
  return probs.astype(np.float32)


def _unsorted(row: np.ndarray, values: np.ndarray) -> np.ndarray:
  out = np.empty_like(values)
  out[row] = values
  return out
