"""Wrong labels, found in one call: confident learning on the predictions of networks that never saw the row's label.

The rows are parted into folds, stratified by label, exact duplicates together. For each fold a recipe is trained from
scratch on the other folds and predicts this one; its rows have the status "held", so that neither their labels nor
their images are trained on. Only the mean and deviation by which pixels are normalised are of all images.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from noisyjax.config.check import checked
from noisyjax.config.plan import Plan, fitting
from noisyjax.data import (
  dataset,
  decode,
  features as features_,
  labels as labels_,
  objects,
  pixels,
  plausible,
  probs as own_probs,
  split,
)
from noisyjax.data.column import column_of
from noisyjax.data.images import as_images
from noisyjax.data.label_notes import missing_note, position_note
from noisyjax.data.training import Status, TrainData
from noisyjax.estimate import confident, scoring
from noisyjax.runs import in_memory
from noisyjax.system import interrupt, progress
from noisyjax.system.errors import UserError, check_choice, listed, one_line
from noisyjax.system.log import log

UNLABELED = 'undefined'  # the word for "no label" among names, beside None, NaN and -1


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

  def to_frame(self) -> Any:
    """Returns a pandas data frame, the most suspicious label first: `columns`, and the same as cleanlab calls it.

    is_label_issue is `flagged`; label_quality is 1 - score (higher = better); given_label and predicted_label are class
    names (missing where unlabeled).

    Raises:
      UserError: without pandas.
    """
    try:
      import pandas
    except ImportError:
      raise UserError('to_frame: needs pandas (pip install pandas); `columns()` holds the same without it.') from None
    names = np.array([*self.classes, None], object)  # -1 is the last
    theirs = {
      'is_label_issue': self.flagged,
      'label_quality': 1 - self.score,
      'given_label': names[self.given],
      'predicted_label': names[self.suggested],
    }
    return pandas.DataFrame(self.columns() | theirs)

  def corrected(self) -> np.ndarray:
    """Returns the labels int32 [N] with the suggestion where one was flagged, in the order of what was passed."""
    out = np.empty_like(self.given)
    out[self.row] = np.where(self.flagged, self.suggested, self.given)
    return out

  def confusions(self) -> list[tuple[int, int, int]]:
    """Returns (given, suggested, how many) of the flagged labels, the most frequent pair first."""
    pairs = zip(self.given[self.flagged].tolist(), self.suggested[self.flagged].tolist())
    return sorted(((*pair, n) for pair, n in Counter(pairs).items()), key=lambda found: (-found[2], found))

  def audit(self, truth: Sequence[Any] | np.ndarray) -> dict[str, float]:
    """Scores the detection against true labels [N] (numbers or names, None or -1 = unknown), in the order passed.

    Returns:
      `evaluate.detection_audit`'s scores, and the accuracy of the labels as given and as corrected.
    """
    given, corrected = _unsorted(self.row, self.given), self.corrected()
    column = column_of(truth, 'truth')
    if len(column.labels) != len(given):
      raise UserError(f'truth: has {len(column.labels)} labels for {len(given)} images; expected a label an image.')
    truth = labels_.indices(column, self.classes, UNLABELED)
    if found := plausible.doubt(given, truth, self.classes, 'the truth'):
      log.warning('%s', found)
    score = np.nan_to_num(_unsorted(self.row, self.score))
    found = scoring.detection_audit(_unsorted(self.row, self.flagged), score, given, truth)
    known = (given >= 0) & (truth >= 0)
    for name, labels in (('accuracy_given', given), ('accuracy_corrected', corrected)):
      found[name] = float((labels == truth)[known].mean()) if known.any() else float('nan')
    return found

  def __str__(self) -> str:
    labeled, flagged = int((self.given >= 0).sum()), int(self.flagged.sum())
    agree = int((self.given == self.suggested).sum())
    lines = [
      f'{len(self.row):,} images, {labeled:,} labeled, {len(self.classes)} classes: {listed(self.classes)}',
      f'flagged: {flagged:,} labels ({flagged / labeled:.1%}); estimated noise rate {self.noise_rate:.1%}',
      f'the probabilities agree with {agree / labeled:.1%} of the labels: where they are mistaken, right labels are '
      'flagged and the rate is too high',
    ]
    pairs = [one_line(f'{self.classes[i]} → {self.classes[j]} ({n:,})') for i, j, n in self.confusions()[:5]]
    return '\n'.join([*lines, *([f'most often (given → suggested): {", ".join(pairs)}'] if pairs else [])])


def find_label_issues(
  images: Any = None,
  labels: Any = None,
  *,
  probs: Any = None,
  features: str = '',
  folds: int = 5,
  config: ConfigDict | None = None,
  seed: int | None = None,
  kind: str = 'prune_by_noise_rate',
  score: str = 'normalized_margin',
  classes: Sequence[str] | None = None,
) -> LabelIssues:
  """Ranks labels by how likely they are wrong, and flags those that probably are.

  Args:
    images: [N, H, W, C] or [N, H, W], of any type `data.pixels.normalised` takes; a folder, zip or tar by its path; a
      list of paths, PIL images or arrays of mixed sizes; a data frame or Hugging Face data set with an image column.
      Not needed with `probs`.
    labels: [N], numbers or names in anything `data.column.column_of` takes; None, NaN and -1 = unlabeled. Of a data
      frame or data set: the name of its label column; None: by its name.
    probs: [N, C], your own probabilities, of a model that was not trained on the row; nothing is trained then. A data
      frame's columns may be called as the classes are.
    features: a pretrained model, such as 'efficientnet_lite0', on whose features of the images linear layers are
      trained; '': none.
    folds: how many networks are trained, each on all folds but one.
    config: how; None: `in_memory.recipe`, or `in_memory.probe` on features.
      Its data (but for `data.seed`, of the folds) and noise fields are not looked at.
    seed: of training and folds; None: the config's.
    kind: which filter flags, of `noisyjax.estimate.confident.FILTERS`. score: what ranks, of `SCORES` there.
    classes: names, in the order of the columns of `probs`; None: those of the data frame, else of the labels (numbers
      by value, names as text), which is said.
  Raises:
    UserError: naming what is wrong with images, labels or probs.
  """
  check_choice('kind', kind, confident.FILTERS)
  check_choice('score', score, confident.SCORES)
  if objects.is_table(images):
    images, labels, declared = objects.columns_of(images, labels)
    classes = declared or None if classes is None else classes
  if labels is None:
    raise UserError('labels: missing; expected one an image.')
  if images is not None and probs is None:
    images, read = objects.images_of(images, features_.extractor(features).weights.size if features else 0)
    for note in read:
      log.warning('%s', note)
  column = column_of(labels, 'labels')
  count = len(column.labels)
  if images is not None and not isinstance(images, str | Path) and len(images) != count:
    raise UserError(f'labels: has {count} labels for {len(images)} images; expected one an image.')
  if probs is not None:
    own = own_probs.probs_of(probs)
    if own.values.ndim == 2 and len(own.values) != count and images is None:
      raise UserError(f'labels: has {count} labels, and {own.where} {len(own.values)} rows; expected one label a row.')
    probs = own_probs.checked(own, count)
    names, note = own_probs.classes_of(own, column, UNLABELED, () if classes is None else classes)
  elif images is None:
    raise UserError('images: missing; expected images to train on, or probs.')
  else:
    names, note = labels_.class_names([column], UNLABELED, () if classes is None else classes), ''
  labels = labels_.indices(column, names, UNLABELED)
  carried = np.unique(labels[labels >= 0])
  if len(carried) < 2:
    found = f'all labels are {names[carried[0]]!r}' if len(carried) else f'all {count} rows are unlabeled'
    raise UserError(f'labels: {found}; expected labels of two classes or more.')
  notes = [note, *position_note(column, names), *missing_note(column, UNLABELED)]
  if probs is None:
    probs = out_of_fold(images, labels, names, folds, config, seed, features)
  else:
    notes.append(plausible.doubt(labels, probs.argmax(1), names, own.where, own.option))
  for note in filter(None, notes):
    log.warning('%s', note)
  keep = labels >= 0
  flagged, quality, joint = map(np.asarray, _judged(probs, labels, keep, kind, score))
  wrong = 1 - quality  # NaN without a label
  order = np.argsort(-wrong, kind='stable')  # NaN last
  rate = 1 - float(np.trace(joint))
  suggested = probs.argmax(1).astype(np.int32)
  return LabelIssues(order, labels[order], suggested[order], wrong[order], flagged[order], probs, max(rate, 0.0), names)


@functools.partial(jax.jit, static_argnames=('kind', 'score'))
def _judged(
  probs: jax.Array, labels: jax.Array, keep: jax.Array, kind: str, score: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
  return (
    confident.issues(probs, labels, keep, kind),
    confident.scores(probs, labels, score),
    confident.joint(probs, labels, keep),
  )


def out_of_fold(
  images: np.ndarray,
  labels: np.ndarray,
  classes: Sequence[str],
  folds: int = 5,
  config: ConfigDict | None = None,
  seed: int | None = None,
  features: str = '',
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
  if config is None:
    config = in_memory.probe() if features else in_memory.recipe()
  config = config.copy_and_resolve_references()
  config.data.val, config.data.features = '', features
  if features:
    images = features_.extract(images, features_.extractor(features), config.data.cache)
  if seed is not None:
    config.seed = config.data.seed = seed
  config = checked(config)
  if config.steps_per_epoch < 0:  # in rows of the whole data set, not of four fifths
    config.steps_per_epoch = max(-config.steps_per_epoch, -(-len(labels) // config.batch_size))
  parts = [held for _, held in split.folds(np.arange(len(labels)), labels, ids, folds, config.data.seed)]
  fewest = min(int((np.delete(labels, held) >= 0).sum()) for held in parts)
  if not config.steps_per_epoch and fewest < config.batch_size:  # here, for all folds together
    size = fitting(config.batch_size, fewest)
    log.info('batch_size: %d is larger than the %d rows of a fold; %d is used.', config.batch_size, fewest, size)
    config.batch_size = size
  chunk = min(config.eval_batch_size, *map(len, parts))  # one shape for all folds
  total = folds * Plan.of(config).epochs
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


def _held_out(
  config: ConfigDict, images: np.ndarray, labels: np.ndarray, classes: int, held: np.ndarray, chunk: int, bar: tqdm
) -> np.ndarray:
  """Returns the probabilities [n, C] of the held rows by a run that has neither their labels nor their images."""
  status = np.full(len(labels), Status.LABELED, np.int8)
  status[held] = Status.HELD
  data = TrainData(as_images(images), labels, np.full(len(labels), -1, np.int32), classes, status=status)
  return in_memory.fit(config, data, _Watch(bar)).probs(images[held], chunk)


class _Watch(in_memory.Silent):
  """The hooks of a fold: a bar, and Ctrl-C."""

  def __init__(self, bar: tqdm) -> None:
    self._bar = bar

  def step(self, phase: Any, position: Any, state: Any, count: int, tick: int) -> None:
    self._bar.update(count / position.steps)
    interrupt.check('find', f'in {self._bar.desc.rstrip(": ")}; nothing is kept.')


def _check_folds(labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], folds: int) -> None:
  if folds < 2:
    raise UserError(f'folds: found {folds}, expected 2 or more.')
  counts = [len(np.unique(groups[labels == c])) for c in range(len(classes))]
  few = [f'{name!r} ({n})' for name, n in zip(classes, counts) if 0 < n < folds]
  if max(counts) < folds:
    raise UserError(
      f'labels: no class has {folds} different images, one a fold (folds={folds}): {listed(few)}. Expected '
      'more images or fewer folds.'
    )
  if few:
    log.warning(
      'labels: %d of %d classes have fewer different images than folds (%d): %s. Some networks that judge them saw '
      'few or none; a flag on such a label says little.',
      len(few),
      len(classes),
      folds,
      listed(few),
    )


def _unsorted(row: np.ndarray, values: np.ndarray) -> np.ndarray:
  out = np.empty_like(values)
  out[row] = values
  return out
