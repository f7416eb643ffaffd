"""Splits rows into training, validation and test rows and into k folds, and selects rows whose true label is revealed.

The test rows are determined first, then the validation rows; the training rows are those that `data.train` names,
without the other two. Every result is a sorted array of row numbers into the `Dataset`. Images, labels and ids are
always indexed by these numbers, so that an image cannot be separated from its label.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from noisyjax.data.dataset import Dataset, duplicate_groups
from noisyjax.data.row_spec import parse
from noisyjax.system.errors import UserError, check_choice, listed


@dataclass(frozen=True, eq=False)
class Split:
  """A split of a data set into disjoint parts.

  Attributes:
    train: training rows, sorted int64 row numbers.
    val: validation rows, sorted int64 row numbers.
    test: test rows, sorted int64 row numbers.
    notes: notes for the user.
  """

  train: np.ndarray
  val: np.ndarray
  test: np.ndarray
  notes: tuple[str, ...] = ()


def split(dataset: Dataset, truth: np.ndarray, config: Any, source: np.ndarray | None = None) -> Split:
  """Returns the rows of each part according to `data.train`, `data.val` and `data.test`.

  A range or a file selects exactly the rows it names. A fraction is stratified by label, and is taken from rows with
  the labels that `data.val_labels` or `data.test_labels` requires: for `data.test` from all such rows; for `data.val`
  from the rows of `data.train` (all rows, if that is a fraction) that are not test rows; for `data.train` from the
  remaining rows. A fraction contains all rows of an image or none, and no image of an earlier part, so that exact
  duplicates stay together. Ranges and files may separate duplicates, which a note reports.

  Rows that the source declares as its test part are never used for training or validation. The source's own validation
  part takes precedence over a fraction in `data.val`; if `data.val` is a range, a file or empty, its rows are treated
  like all others.

  Args:
    dataset: N rows.
    truth: int [N], -1 = unknown. Only whether a true label is known is used, never its value.
    config: `config.data`: train, val, test, val_labels, test_labels, seed.
    source: int [N], the labels before noise was injected, by which test rows are stratified, so that the test rows do
      not depend on the noise. None: the given labels.

  Raises:
    UserError: a specification is malformed, names rows outside the data or leaves a part empty; rows lack the labels
      that score them; or the training rows have no labels or labels of one class only.
  """
  scores = {'given': dataset.given, 'verified': dataset.verified, 'true': np.asarray(truth)}
  check_choice('data.val_labels', config.val_labels, ('given', 'verified'))
  check_choice('data.test_labels', config.test_labels, scores)
  every, images, notes = np.arange(len(dataset.ids)), duplicate_groups(dataset.ids), []
  train_spec = parse('data.train', config.train, dataset.ids, dataset.names)
  val_spec, test_spec = (
    _spec(field, dataset, config, part) for field, part in (('val', dataset.val), ('test', dataset.test))
  )
  if isinstance(val_spec, float) and dataset.val.any():  # the source declares a validation part
    val_spec = np.flatnonzero(dataset.val)
    notes.append(
      f"data.val: the source's own validation part ({len(val_spec)} rows) goes before the fraction {config.val}."
    )
  test = val = np.zeros(0, np.int64)

  def fraction(field: str, share: float, pool: np.ndarray, placed: np.ndarray) -> np.ndarray:
    pool = pool[~np.isin(images[pool], images[placed])]
    if field != 'train' and (blank := pool[scores[config[f'{field}_labels']][pool] < 0]).size:
      kind, count, known = config[f'{field}_labels'], len(pool), _known(field, scores, pool, np.any)
      pool = pool[~np.isin(images[pool], images[blank])]  # excludes images of which any copy lacks the label
      if not len(pool):
        raise UserError(
          f'data.{field}_labels: {kind!r}, but none of {count} rows has a {kind} label; expected {known}.'
        )
      notes.append(f'data.{field}: {share:g} is of the {len(pool)} of {count} rows that have a {kind} label.')
    kinds = dataset.with_labels(given=source) if field == 'test' and source is not None else dataset
    return draw(pool, share, strata(kinds, pool), images, rng(config.seed, field))

  if test_spec is not None:
    test = fraction('test', test_spec, every, test) if isinstance(test_spec, float) else test_spec
    _check_scored('test', test, scores, config)
  spare = np.setdiff1d(np.flatnonzero(dataset.test), test)
  if len(spare):
    notes.append(
      f"{len(spare)} rows of the source's own test part are not used (data.test: {config.test!r}; 'source' scores)."
    )
  rest = np.setdiff1d(every, np.union1d(test, spare))
  named = rest if isinstance(train_spec, float) else np.intersect1d(rest, train_spec)

  if val_spec is not None:
    val = fraction('val', val_spec, named, test) if isinstance(val_spec, float) else np.intersect1d(val_spec, rest)
    _check_scored('val', val, scores, config)
    if not isinstance(val_spec, float) and len(val) < len(val_spec):
      notes.append(f'data.val: {len(val_spec) - len(val)} of its rows are test rows, and do not validate.')

  train = np.setdiff1d(named, val)
  if isinstance(train_spec, float):
    train = fraction('train', train_spec, train, np.concatenate([test, val]))
  check_classes(dataset, train, config, notes)
  notes += _parted({'train': train, 'val': val, 'test': test}, images, dataset)
  return Split(train, val, test, tuple(notes))


def folds(
  rows: np.ndarray, labels: np.ndarray, ids: np.ndarray, k: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Splits `rows` into k stratified folds that keep exact duplicates together.

  Args:
    rows: row numbers to split, int [R].
    labels: labels of the whole data set, int [N]; -1 is a separate stratum.
    ids: ids of the whole data set, str [N].
    k: number of folds.
    seed: seed of the folds.

  Returns:
    k pairs (train, held) of sorted row numbers. Each row is held out once.

  Raises:
    UserError: k is less than 2, or larger than the number of images in the largest class.
  """
  if k < 2:
    raise UserError(f'folds: found {k}, expected 2 or more.')
  rows = np.sort(rows)
  images = duplicate_groups(ids)[rows]
  strata = labels[rows]
  most = int(np.unique(strata, return_counts=True)[1].max(initial=0))
  if k > min(most, len(np.unique(images))):
    raise UserError(
      f'folds: found {k}, expected at most {min(most, len(np.unique(images)))} for these {len(rows)} rows.'
    )
  state = int(rng(seed, 'folds').integers(2**32))  # shares no random numbers with other purposes
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # a class with fewer rows than folds is missing in some folds
    parts = list(StratifiedGroupKFold(k, shuffle=True, random_state=state).split(rows, strata, images))
  return [(rows[train], rows[held]) for train, held in parts]


def reveal(
  dataset: Dataset, truth: np.ndarray, rows: np.ndarray, fraction: float, seed: int, by: str = 'given'
) -> np.ndarray:
  """Reveals the true labels of a stratified fraction of `rows` as verified labels.

  The choice of rows depends on given labels, unless `by` asks for true ones, as in papers whose trusted rows are a
  curated set with the same share of each class (Meta-Weight-Net: xjtushujun/meta-weight-net, load_corrupted_data.py,
  lines 102-129, revision 3f1800f). Rows that are already verified keep their labels.

  Args:
    dataset: N rows.
    truth: true labels, int [N]; -1 = unknown.
    rows: training rows, int [R].
    fraction: `data.trusted`, 0 to 1, the fraction of the rows with a known true label.
    seed: `data.seed`.
    by: `data.trusted_by`, "given" or "true": the labels by which the rows are stratified.

  Returns:
    Verified labels, int32 [N]; -1 = not verified.

  Raises:
    UserError: the fraction is outside [0, 1], or selects no row.
  """
  if not 0 <= fraction <= 1:
    raise UserError(f'data.trusted: must lie in [0, 1], found {fraction:g}.')
  verified = dataset.verified.astype(np.int32)
  if fraction == 0:
    return verified
  known = np.sort(rows[truth[rows] >= 0])
  classes = truth if by == 'true' else strata(dataset, known)
  chosen = draw(known, fraction, classes, duplicate_groups(dataset.ids), rng(seed, 'trusted'))
  if not len(chosen):
    raise UserError(f'data.trusted: {fraction:g} of {len(known)} training rows with a known true label leaves none.')
  verified[chosen] = np.where(verified[chosen] < 0, truth[chosen], verified[chosen])
  return verified


def strata(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
  """Returns the labels [N] by which `rows` are stratified: verified labels if all `rows` have one, otherwise given."""
  return dataset.verified if (dataset.verified[rows] >= 0).all() else dataset.given


def rng(seed: int, name: str) -> np.random.Generator:
  """Returns a separate generator for each purpose, so that a change of one part does not change the others."""
  if seed < 0:
    raise UserError(f'data.seed: must be 0 or more, found {seed}.')
  return np.random.default_rng([seed, *name.encode()])


def draw(
  rows: np.ndarray, fraction: float, labels: np.ndarray, images: np.ndarray, random: np.random.Generator
) -> np.ndarray:
  """Draws a fraction of `rows`, stratified by label; all rows of an image are drawn together.

  The sizes of the strata are their shares, rounded by the largest-remainder method so that they add up to the rounded
  fraction of all rows. An image belongs to the stratum of one of its rows, drawn at random.

  Args:
    rows: row numbers, int [R].
    fraction: fraction to draw, 0 to 1.
    labels: labels of the whole data set, int [N].
    images: image of each row of the whole data set as a group number, int [N], see `duplicate_groups`.
    random: random generator.

  Returns:
    Sorted row numbers. There are fewer than requested only if an image has more rows than its stratum still needs.
  """
  if not len(rows):
    return np.zeros(0, np.int64)
  order = random.permutation(rows)
  image, first, of, size = np.unique(images[order], return_index=True, return_inverse=True, return_counts=True)
  stratum = labels[order[first]]
  stratum = np.unique(stratum, return_inverse=True)[1]
  share = fraction * np.bincount(stratum, weights=size)
  quota = np.floor(share).astype(int)
  missing = int(fraction * len(rows) + 0.5) - quota.sum()
  quota[np.argsort(quota - share, kind='stable')[:missing]] += 1
  taken = np.zeros(len(image), bool)
  for i in np.argsort(first):  # in the order of the permutation
    if size[i] <= quota[stratum[i]]:
      quota[stratum[i]] -= size[i]
      taken[i] = True
  return np.sort(order[taken[of.reshape(-1)]]).astype(np.int64)


def _spec(field: str, dataset: Dataset, config: Any, part: np.ndarray) -> float | np.ndarray | None:
  """Returns the fraction or rows of `data.val` or `data.test`, or None; `part` [N] is the part of the source itself."""
  if config[field] != 'source':
    return parse(f'data.{field}', config[field], dataset.ids, dataset.names) if config[field] else None
  if not part.any():
    kind = {'val': 'validation', 'test': 'test'}[field]
    raise UserError(f"data.{field}: 'source', but this source has no {kind} part of its own.")
  return np.flatnonzero(part)


def _check_scored(field: str, rows: np.ndarray, scores: dict[str, np.ndarray], config: Any) -> None:
  """Raises UserError unless there are validation or test rows and all of them have the labels that score them."""
  if not len(rows):
    raise UserError(f'data.{field}: {config[field]!r} leaves no rows.')
  kind = config[f'{field}_labels']
  bad = rows[scores[kind][rows] < 0]
  if len(bad):
    raise UserError(
      f'data.{field}_labels: {kind!r}, but {len(bad)} of the {len(rows)} rows of data.{field} have no {kind} label '
      f'(the first is row {bad[0]}); expected {_known(field, scores, rows, np.all)}.'
    )


def _known(field: str, scores: dict[str, np.ndarray], rows: np.ndarray, enough: Callable[[np.ndarray], Any]) -> str:
  """Returns the kinds of labels that `enough` of the rows have, for a message."""
  kinds = [kind for kind in scores if field == 'test' or kind != 'true']
  return ' or '.join(kind for kind in kinds if enough(scores[kind][rows] >= 0)) or 'other rows'


def check_classes(dataset: Dataset, train: np.ndarray, config: Any, notes: list[str]) -> None:
  """Raises UserError unless the training rows have labels of at least two classes; adds a note on classes without."""
  if not len(train):
    raise UserError(f'data.train: {config.train!r} leaves no rows beside data.val and data.test.')
  labels = np.concatenate([dataset.given[train], dataset.verified[train]])
  seen = np.unique(labels[labels >= 0])
  if not len(seen):
    raise UserError(f'data.train: all {len(train)} rows are unlabeled; at least two classes need labeled rows.')
  if len(seen) == 1:
    raise UserError(
      f'data.train: every labeled row among its {len(train)} is of one class, {dataset.classes[seen[0]]!r}; '
      'a classifier needs two.'
    )
  empty = [name for c, name in enumerate(dataset.classes) if c not in seen]
  if empty:
    notes.append(f'data.train: no row is labeled {listed(map(repr, empty))}.')


def _parted(parts: dict[str, np.ndarray], images: np.ndarray, dataset: Dataset) -> list[str]:
  """Returns notes on images with rows in two parts, which only ranges and files can cause."""
  notes = []
  for (name, rows), (other, others) in combinations(parts.items(), 2):
    copies = np.intersect1d(images[rows], images[others])
    if len(copies):
      one, two = rows[images[rows] == copies[0]][0], others[images[others] == copies[0]][0]
      notes.append(
        f'{len(copies)} images have exact copies both in data.{name} and in data.{other}, and were not moved (such as '
        f'rows {one} and {two}: {dataset.names[one]}, {dataset.names[two]}).'
      )
  return notes
