"""Out-of-fold predictions: each row is predicted by networks that were trained without it.

The rows are divided into folds, stratified by label; images that look equal share a fold, see `duplicates.alike`. For
each fold, a recipe is trained from scratch on the other folds and predicts this one. The rows of the fold have the
status "held", so that neither their labels nor their images enter training. Only the mean and standard deviation that
normalize the pixels are those of all images.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from noisyjax.analysis import duplicates
from noisyjax.config.check import checked
from noisyjax.config.plan import Plan, fitting
from noisyjax.data import decode, features as features_, pixels, split
from noisyjax.data.images import as_images, chunks
from noisyjax.data.training import TrainData
from noisyjax.runs import in_memory
from noisyjax.runs.fold import Place, held_out, predicted
from noisyjax.system import interrupt, progress
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log


def out_of_fold(
  images: np.ndarray,
  labels: np.ndarray,
  classes: Sequence[str],
  folds: int = 5,
  config: ConfigDict | None = None,
  seed: int | None = None,
  features: str = '',
  place: Place | None = None,
) -> np.ndarray:
  """Predicts every row by networks that were trained on the other folds.

  Args:
    images: N images, of any type that `data.pixels.normalised` takes.
    labels: int [N]; -1 = unlabeled.
    classes: C class names.
    folds: number of folds.
    config: config of the training; None = `in_memory.recipe()`, or `in_memory.probe()` with `features`. Of its data
      fields, only `data.seed` and `data.cache` are used.
    seed: seed of training and folds; None = the config's.
    features: name of a pretrained model on whose features of the images linear layers are trained; '' = none.
    place: where the folds are executed; None = in this process, where they leave nothing but their predictions.

  Returns:
    Probabilities, float32 [N, C].

  Raises:
    UserError: invalid images; fewer different images of a class than folds; an invalid config, or one that needs
      validation rows: the only ones available would be the rows to judge.
    Diverged: a loss, parameter or prediction is NaN or infinite.
  """
  images, notes = pixels.normalised(images)
  for note in notes:
    log.warning('%s', note)
  digests = [decode.digest(image) for part in chunks(as_images(images)) for image in part]
  groups = duplicates.alike(as_images(images), np.array(digests))
  if config is None:
    config = in_memory.probe() if features else in_memory.recipe()
  config = config.copy_and_resolve_references()
  config.data.features = features
  if features:
    images = features_.extract(images, features_.extractor(features), config.data.cache)
  if seed is not None:
    config.seed = config.data.seed = seed
  data = TrainData(as_images(images), labels, np.full(len(labels), -1, np.int32), len(classes))
  return of_rows(data, groups, classes, folds, config, place)[0]


def of_rows(
  data: TrainData,
  groups: np.ndarray,
  classes: Sequence[str],
  folds: int,
  config: ConfigDict,
  place: Place | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Predicts every row that may be trained on by networks that were trained on the other folds.

  Args:
    data: N rows; a fold is trained on those of the other folds, with their labels, weights and statuses.
    groups: int [N]; rows of equal numbers share a fold, such as near duplicates.
    classes: C class names.
    folds: number of folds.
    config: config of the training. Of its data fields, only `data.seed` and those that name the rows' features are
      used.
    place: where the folds are executed; None = in this process.

  Returns:
    Probabilities, float32 [N, C], NaN for dropped and held rows; and the fold of each row, int32 [N], −1 for these.

  Raises:
    UserError: as `out_of_fold` raises it.
    Diverged: a loss, parameter or prediction is NaN or infinite.
  """
  rows = np.flatnonzero(data.used)
  labels = data.given
  _check_folds(labels[rows], groups[rows], classes, folds)
  config = config.copy_and_resolve_references()
  config.data.val = config.data.table = ''
  config = checked(config)
  parts = [held for _, held in split.folds(rows, labels, groups.astype(str), folds, config.data.seed)]
  plan = _plan(config, data, parts)
  chunk = min(config.eval_batch_size, *map(len, parts))  # one shape for all folds
  each = predicted(place, plan, data, parts, chunk) if place else _in_turn(plan, data, parts, chunk)
  probs = np.full((len(labels), len(classes)), np.nan, np.float32)
  number = np.full(len(labels), -1, np.int32)
  for fold, (held, found) in enumerate(zip(parts, each, strict=True)):
    probs[held], number[held] = found, fold
  return probs, number


def _in_turn(plan: Plan, data: TrainData, parts: Sequence[np.ndarray], chunk: int) -> list[np.ndarray]:
  """Returns the probabilities of the rows of each fold, trained in this process one after another."""
  folds, total = len(parts), len(parts) * plan.epochs
  clock, lines = progress.Clock(), progress.Lines()
  form = '{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} epochs [{elapsed}<{remaining}]'
  bar = tqdm(total=total, bar_format=form, mininterval=1.0, disable=None, dynamic_ncols=True)
  found = []
  with interrupt.watched(), bar:
    for fold, held in enumerate(parts):
      bar.set_description(f'fold {fold + 1} of {folds}')
      found.append(_held_out(plan, data, held, chunk, bar))
      clock.tick()
      lines.say(f'fold {fold + 1} of {folds}', clock.left(folds - fold - 1))
  return found


def _plan(config: ConfigDict, data: TrainData, parts: Sequence[np.ndarray]) -> Plan:
  """Returns the plan of all folds, with one batch size and one number of steps, so that they share a compiled step.

  Args:
    config: checked config; changed in place.
    data: all rows.
    parts: the rows held out of each fold.
  """
  if config.steps_per_epoch < 0:  # counts the rows of the whole data set, not of the other folds
    config.steps_per_epoch = max(-config.steps_per_epoch, -(-int(data.used.sum()) // config.batch_size))
  fewest = min(int((np.delete(data.given, held) >= 0).sum()) for held in parts)
  if not config.steps_per_epoch and fewest < config.batch_size:
    size = fitting(config.batch_size, fewest)
    log.info(
      'batch_size: %d is larger than the %d training rows of a fold; %d is used.', config.batch_size, fewest, size
    )
    config.batch_size = size
  return Plan.of(config)


def _held_out(plan: Plan, data: TrainData, held: np.ndarray, chunk: int, bar: tqdm) -> np.ndarray:
  """Trains without the held rows and returns their probabilities [n, C]."""
  return held_out(plan, data, held, chunk, _Watch(bar))


class _Watch(in_memory.Silent):
  """The hooks of a fold: they advance a progress bar and check for Ctrl-C.

  Args:
    bar: the progress bar, in epochs of all folds.
  """

  def __init__(self, bar: tqdm) -> None:
    self._bar = bar

  def step(self, phase: Any, position: Any, state: Any, count: int, tick: int) -> None:
    self._bar.update(count / position.steps)
    interrupt.check('find', f'in {self._bar.desc.rstrip(": ")}; nothing is kept.')


def _check_folds(labels: np.ndarray, groups: np.ndarray, classes: Sequence[str], folds: int) -> None:
  """Checks that the largest class has a different image for each fold; warns of the classes that do not.

  Args:
    labels: int [N]; -1 = unlabeled.
    groups: int [N], equal for rows with the same image.
    classes: C class names.
    folds: number of folds.

  Raises:
    UserError: no class has enough images, or `folds` is less than 2.
  """
  if folds < 2:
    raise UserError(f'folds: found {folds}, expected 2 or more.')
  counts = [len(np.unique(groups[labels == c])) for c in range(len(classes))]
  few = [f'{name!r} ({n})' for name, n in zip(classes, counts) if 0 < n < folds]
  if max(counts) < folds:
    raise UserError(
      f'labels: no class has {folds} different images, one per fold (folds={folds}): {listed(few)}. Expected '
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
