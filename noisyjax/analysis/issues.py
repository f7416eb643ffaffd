"""Finds wrong labels: confident learning on out-of-fold predictions, or on predictions of the user's own."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax.analysis import feature_columns
from noisyjax.analysis.out_of_fold import out_of_fold
from noisyjax.data import features as features_, labels as labels_, objects, pixels, plausible, probs as own_probs
from noisyjax.data.column import column_of
from noisyjax.data.label_notes import missing_note, position_note
from noisyjax.estimate import confident, scoring
from noisyjax.runs import result
from noisyjax.runs.fold import Place
from noisyjax.system.errors import UserError, check_choice, listed, one_line
from noisyjax.system.log import log

UNLABELED = 'undefined'  # class name that means "no label", in addition to None, NaN and -1


@dataclasses.dataclass(frozen=True, eq=False)
class LabelIssues:
  """All labels, ranked: the most suspicious first, unlabeled rows last.

  Attributes:
    row: row number in the input, int64 [N].
    given: given label, int32 [N]; -1 = unlabeled.
    suggested: most likely class, int32 [N].
    score: float32 [N] in 0–1, higher = more likely wrong; 1 minus the quality score of confident learning, by default
      (1 + largest other probability − probability of the label) / 2; NaN for unlabeled rows.
    flagged: whether the filter flags the label as wrong, bool [N]. The filter estimates the number of wrong labels; it
      is not a threshold on the score.
    probs: float32 [N, C], in the order of the input, as are `corrected` and the truth of `audit`.
    noise_rate: estimated fraction of wrong labels.
    classes: C class names.
    in_features: columns of `feature_columns.columns` in this order, with pretrained features; otherwise {}. Ranking and
      flags do not depend on them.
    told: what pretrained networks bring, such as "pretrained: ImageNet-1k"; () if there are none.
  """

  row: np.ndarray
  given: np.ndarray
  suggested: np.ndarray
  score: np.ndarray
  flagged: np.ndarray
  probs: np.ndarray
  noise_rate: float
  classes: tuple[str, ...]
  in_features: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  told: tuple[str, ...] = ()

  def columns(self) -> dict[str, np.ndarray]:
    """Returns the columns of the table, an argument for `pandas.DataFrame`."""
    own = {name: getattr(self, name) for name in ('row', 'given', 'suggested', 'score', 'flagged')}
    return own | dict(self.in_features)

  def to_frame(self) -> Any:
    """Returns a pandas data frame, the most suspicious label first: `columns`, and columns with cleanlab's names.

    is_label_issue is `flagged`; label_quality is 1 − score (higher = better); given_label and predicted_label are class
    names (missing for unlabeled rows).

    Raises:
      UserError: pandas is not installed.
    """
    try:
      import pandas
    except ImportError:
      raise UserError('to_frame: pandas is not installed; run pip install pandas, or use `columns()`.') from None
    names = np.array([*self.classes, None], object)  # index -1 (unlabeled) is the last entry
    theirs = {
      'is_label_issue': self.flagged,
      'label_quality': 1 - self.score,
      'given_label': names[self.given],
      'predicted_label': names[self.suggested],
    }
    return pandas.DataFrame(self.columns() | theirs)

  def corrected(self) -> np.ndarray:
    """Returns the labels, int32 [N], in the order of the input; flagged ones are replaced by the suggested class."""
    out = np.empty_like(self.given)
    out[self.row] = np.where(self.flagged, self.suggested, self.given)
    return out

  def confusions(self) -> list[tuple[int, int, int]]:
    """Returns (given, suggested, count) of the flagged labels, the most frequent pair first."""
    pairs = zip(self.given[self.flagged].tolist(), self.suggested[self.flagged].tolist())
    return sorted(((*pair, n) for pair, n in Counter(pairs).items()), key=lambda found: (-found[2], found))

  def audit(self, truth: Sequence[Any] | np.ndarray) -> dict[str, float]:
    """Scores the detection against true labels.

    Args:
      truth: true labels [N] in the order of the input, as class numbers or names; None or -1 = unknown.

    Returns:
      The scores of `scoring.detection_audit`, and the accuracy of the given and of the corrected labels.

    Raises:
      UserError: the number of labels is wrong, or a label is invalid.
    """
    given, corrected = _unsorted(self.row, self.given), self.corrected()
    column = column_of(truth, 'truth')
    if len(column.labels) != len(given):
      raise UserError(f'truth: has {len(column.labels)} labels for {len(given)} images; expected one label per image.')
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
      f'the probabilities agree with {agree / labeled:.1%} of the labels; wrong predictions cause false '
      'flags and a rate that is too high',
    ]
    pairs = [one_line(f'{self.classes[i]} → {self.classes[j]} ({n:,})') for i, j, n in self.confusions()[:5]]
    lines += [f'told: {"; ".join(self.told)}'] if self.told else []
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
  place: Place | None = None,
) -> LabelIssues:
  """Ranks labels by how likely they are wrong, and flags those that probably are.

  Args:
    images: [N, H, W, C] or [N, H, W], of any type that `data.pixels.normalised` accepts; the path of a folder, zip or
      tar; a list of paths, PIL images or arrays of any sizes; a data frame or Hugging Face data set with an image
      column; a torch data set of pairs (image, label). Not needed if `probs` is given.
    labels: class numbers or names [N], in any form that `data.column.column_of` accepts; None, NaN and -1 = unlabeled.
      For a data frame or data set: name of its label column; None = the column is detected by its name.
    probs: probabilities [N, C] of a model that was not trained on the row; nothing is trained then. The columns of a
      data frame may be named after the classes.
    features: pretrained model, such as 'efficientnet_lite0', on whose features of the images linear layers are trained;
      '' = none. Neighbours, near duplicates and outliers among the features become further columns.
    folds: number of folds; one network is trained for each, on all other folds.
    config: config of the training; None = `in_memory.recipe`, or `in_memory.probe` on features. The noise fields
      and all data fields except `data.seed`, which draws the folds, are ignored.
    seed: seed of training and folds; None = the seeds of the config.
    kind: filter that flags labels, a key of `noisyjax.estimate.confident.FILTERS`.
    score: score that ranks labels, a key of `noisyjax.estimate.confident.SCORES`.
    classes: class names in the order of the columns of `probs`; None = the names of the data frame, those that
      the data set or a categorical column of labels declares, or those of the labels (numbers sorted by value, names as
      text), which a message says.
    place: an engine that trains the folds, and a folder for their files; None = in this process.

  Raises:
    UserError: images, labels, probs or config are invalid; the message says how.
  """
  check_choice('kind', kind, confident.FILTERS)
  check_choice('score', score, confident.SCORES)
  of_source, images, named = getattr(images, 'classes', ()), objects.tabled(images), ()
  if objects.is_table(images):
    images, labels, named = objects.columns_of(images, labels, of_source)
  if labels is None:
    raise UserError('labels: missing; expected one label per image.')
  if isinstance(labels, str | Path):
    raise UserError(f'labels: found {str(labels)!r}; expected one label per image. `find --labels` reads label files.')
  if isinstance(classes, str | set | frozenset | Mapping):
    raise UserError(f'classes: is a {type(classes).__name__}; expected a list of names, in the order of the columns.')
  if images is not None and (probs is None or features):
    size = features_.extractor(features, where='features').weights.size if features else 0
    images, read = objects.images_of(images, size)
    for note in read:
      log.warning('%s', note)
  _check_index(labels, probs)
  column = column_of(labels, 'labels')
  count = len(column.labels)
  if images is not None and not isinstance(images, str | Path) and len(images) != count:
    raise UserError(f'labels: has {count} labels for {len(images)} images; expected one label per image.')
  own = None if probs is None else own_probs.probs_of(probs)
  if classes is None and (own is None or not own.classes):
    classes = named or labels_.categories(labels, UNLABELED, *(() if own is None else own.values.shape[-1:]))
    classes = [name for name in classes if own is not None or not labels_.means_none(name, UNLABELED)]
  if own is not None:
    if own.values.ndim == 2 and len(own.values) != count and images is None:
      raise UserError(
        f'labels: has {count} labels, and {own.where} has {len(own.values)} rows; expected one label per row.'
      )
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
  if own is None:
    probs = out_of_fold(images, labels, names, folds, config, seed, features, place)
  else:
    notes.append(plausible.doubt(labels, probs.argmax(1), names, own.where, own.option))
  for note in filter(None, notes):
    log.warning('%s', note)
  keep = labels >= 0
  flagged, quality, joint = map(np.asarray, _judged(probs, labels, keep, kind, score))
  wrong = 1 - quality  # NaN for unlabeled rows
  order = np.argsort(-wrong, kind='stable')  # NaN comes last
  rate = 1 - float(np.trace(joint))
  suggested = probs.argmax(1).astype(np.int32)
  more, told = {}, ()
  if features and images is not None:
    by, cache = features_.extractor(features), config is None or config.data.cache
    pictures, _ = pixels.normalised(images)
    space = features_.extract(pictures, by, cache)[:, 0, 0].astype(np.float32)  # kept since the training
    more = {name: values[order] for name, values in feature_columns.columns(space, pictures, labels, suggested).items()}
    told = tuple(sorted(result.pretraining([by.weights.data], names)))
  return LabelIssues(
    order,
    labels[order],
    suggested[order],
    wrong[order],
    flagged[order],
    probs,
    max(rate, 0.0),
    names,
    more,
    told,
  )


def _check_index(labels: Any, probs: Any) -> None:
  """Refuses labels and probabilities of pandas whose rows are the same in another order: they are taken by place."""
  indices: list[Any] = [getattr(values, 'index', None) for values in (labels, probs)]
  if not all(hasattr(index, 'sort_values') for index in indices) or indices[0].equals(indices[1]):
    return
  if indices[0].sort_values().equals(indices[1].sort_values()):
    raise UserError('probs: has the index of labels in another order; expected its order, probs.loc[labels.index].')


@functools.partial(jax.jit, static_argnames=('kind', 'score'))
def _judged(
  probs: jax.Array, labels: jax.Array, keep: jax.Array, kind: str, score: str
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns flags bool [N], quality scores [N] and the joint distribution [C, C] of confident learning."""
  return (
    confident.issues(probs, labels, keep, kind),
    confident.scores(probs, labels, score),
    confident.joint(probs, labels, keep),
  )


def _unsorted(row: np.ndarray, values: np.ndarray) -> np.ndarray:
  """Returns `values` [N] in the order of the images passed; `values[i]` is of row `row[i]`."""
  out = np.empty_like(values)
  out[row] = values
  return out
