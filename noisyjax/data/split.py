"""Which rows train, validate and test; k folds; which train rows have their true label revealed.

Rows are settled in this order: test, then validation, then training = the rows `data.train` names less the other two.
Every result is a sorted array of row numbers into the `Dataset`, and images, labels and ids are only ever taken by
these numbers: a row cannot part from its own label.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from noisyjax.data import label_file, match, table
from noisyjax.data.column import plain
from noisyjax.data.dataset import Dataset, duplicate_groups
from noisyjax.system import reading
from noisyjax.system.errors import UserError, check_choice, listed

GRAMMAR = (
  "index ranges 'a:b' or 'a:b,c:d', a fraction between 0 and 1 such as '0.1', or '@file' with row numbers, ids or "
  'names of images'
)


@dataclass(frozen=True, eq=False)
class Split:
  """Row numbers into the data set, int64, sorted, disjoint; and what the user should know about them."""

  train: np.ndarray
  val: np.ndarray
  test: np.ndarray
  notes: tuple[str, ...] = ()


def split(dataset: Dataset, truth: np.ndarray, config: Any, source: np.ndarray | None = None) -> Split:
  """Returns the rows of each part by `data.train`, `data.val` and `data.test`.

  A range or a file means exactly the rows it names. A fraction is stratified by label, and is taken of the rows that
  can be scored as `data.val_labels` or `data.test_labels` says: for `data.test` of all of them, for `data.val` of those
  among the rows of `data.train` (of all where that is a fraction too) that are not test rows, for `data.train` of what
  is left. Exact duplicates never part: a fraction takes all rows of an image or none, and none of an image that an
  earlier part holds. Ranges and files that part them are obeyed, and noted.

  Rows that the source declares its test part never train or validate. Its own validation part goes before a fraction
  in `data.val`; with a range, a file or none there, its rows are like any other.

  Args:
    dataset: N rows.
    truth: int [N], -1 = unknown. Only whether it is known is looked at, never its value.
    config: `config.data`: train, val, test, val_labels, test_labels, seed.
    source: int [N], the labels before noise was injected, by which test rows are stratified: every noise is then
      scored on the same ones. None: the given labels.

  Raises:
    UserError: a malformed specification, rows outside the data, an empty part, rows without the labels that are to
      score them, training rows without labels or with labels of one class only.
  """
  scores = {'given': dataset.given, 'verified': dataset.verified, 'true': np.asarray(truth)}
  check_choice('data.val_labels', config.val_labels, ('given', 'verified'))
  check_choice('data.test_labels', config.test_labels, scores)
  every, images, notes = np.arange(len(dataset.ids)), duplicate_groups(dataset.ids), []
  train_spec = parse('data.train', config.train, dataset.ids, dataset.names)
  val_spec, test_spec = (
    _spec(field, dataset, config, part) for field, part in (('val', dataset.val), ('test', dataset.test))
  )
  if isinstance(val_spec, float) and dataset.val.any():  # someone has drawn a validation part already
    val_spec = np.flatnonzero(dataset.val)
    notes.append(
      f"data.val: the source's own validation part ({len(val_spec)} rows) goes before the fraction {config.val}."
    )
  test = val = np.zeros(0, np.int64)

  def fraction(field: str, share: float, pool: np.ndarray, placed: np.ndarray) -> np.ndarray:
    pool = pool[~np.isin(images[pool], images[placed])]
    if field != 'train' and (blank := pool[scores[config[f'{field}_labels']][pool] < 0]).size:
      kind, count = config[f'{field}_labels'], len(pool)
      pool = pool[~np.isin(images[pool], images[blank])]  # a copy without a label keeps its image out
      if not len(pool):
        raise UserError(f'data.{field}_labels: {kind!r}, but none of {count} rows has a {kind} label.')
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
  _check_classes(dataset, train, config, notes)
  notes += _parted({'train': train, 'val': val, 'test': test}, images, dataset)
  return Split(train, val, test, tuple(notes))


def folds(
  rows: np.ndarray, labels: np.ndarray, ids: np.ndarray, k: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Parts `rows` into k stratified folds and keeps exact duplicates together.

  Args:
    rows: int [R], the row numbers to part.
    labels: int [N], of the whole data set; -1 is a stratum of its own.
    ids: str [N], of the whole data set.
    k: the number of folds.
    seed: of the folds.

  Returns:
    k pairs (train, held) of sorted row numbers. Each row is held once.

  Raises:
    UserError: fewer than 2 folds, or more than there are images in the largest class.
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
  state = int(rng(seed, 'folds').integers(2**32))  # a stream of its own
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # a class of fewer rows than folds is absent from some
    parts = list(StratifiedGroupKFold(k, shuffle=True, random_state=state).split(rows, strata, images))
  return [(rows[train], rows[held]) for train, held in parts]


def reveal(dataset: Dataset, truth: np.ndarray, rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
  """Verifies a part of the data: returns `verified` with the true label of a stratified fraction of `rows` filled in.

  Which rows are chosen depends on given labels, never on the truth. Rows that were verified before stay as they were.

  Args:
    dataset: N rows.
    truth: int [N], -1 = unknown.
    rows: int [R], the training rows; the fraction (`data.trusted`) is of those with a known true label.
    fraction: 0 to 1.
    seed: `data.seed`.

  Returns:
    verified int32 [N], -1 = unchecked.
  """
  if not 0 <= fraction <= 1:
    raise UserError(f'data.trusted: must lie in [0, 1], found {fraction:g}.')
  verified = dataset.verified.astype(np.int32)
  if fraction == 0:
    return verified
  known = np.sort(rows[truth[rows] >= 0])
  chosen = draw(known, fraction, strata(dataset, known), duplicate_groups(dataset.ids), rng(seed, 'trusted'))
  if not len(chosen):
    raise UserError(f'data.trusted: {fraction:g} of {len(known)} training rows with a known true label leaves none.')
  verified[chosen] = np.where(verified[chosen] < 0, truth[chosen], verified[chosen])
  return verified


def strata(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
  """The labels [N] by which `rows` are stratified: verified if every one of them is, else given."""
  return dataset.verified if (dataset.verified[rows] >= 0).all() else dataset.given


def rng(seed: int, name: str) -> np.random.Generator:
  """A generator of its own for each purpose: a change of one part draws no other part anew."""
  if seed < 0:
    raise UserError(f'data.seed: must be 0 or more, found {seed}.')
  return np.random.default_rng([seed, *name.encode()])


def draw(
  rows: np.ndarray, fraction: float, labels: np.ndarray, images: np.ndarray, random: np.random.Generator
) -> np.ndarray:
  """Draws a fraction of `rows`, stratified by label, an image with all its rows at a time.

  The sizes of the strata are the largest-remainder rounding of their shares, so that they add up to the rounded
  fraction of all rows. An image counts in the stratum of one of its rows, drawn at random.

  Args:
    rows: int [R]. labels, images: int [N], of the whole data set.

  Returns:
    Sorted row numbers. Only an image with more rows than its stratum has left to give makes them fewer than asked for.
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
  for i in np.argsort(first):  # the images in the order of the permutation
    if size[i] <= quota[stratum[i]]:
      quota[stratum[i]] -= size[i]
      taken[i] = True
  return np.sort(order[taken[of.reshape(-1)]]).astype(np.int64)


def parse(field: str, spec: Any, ids: np.ndarray, names: Sequence[str] | np.ndarray = ()) -> float | np.ndarray:
  """Reads a specification: a fraction as float, anything else as the sorted row numbers it names, int64."""
  text, n = str(spec).strip(), len(ids)
  if text.startswith('@'):
    return _read_rows(field, reading.file_of(text[1:], field), ids, names if len(names) else ids)
  if ':' in text:
    return np.unique(np.concatenate([_range(field, part, n) for part in text.split(',')]))
  try:
    fraction = float(text)
  except ValueError:
    raise UserError(f'{field}: {text!r} is malformed; expected {GRAMMAR}.') from None
  if not 0 < fraction < 1:
    raise UserError(f"{field}: {text!r}: a fraction must lie between 0 and 1; for all rows use ':', for one row '5:6'.")
  return fraction


def _range(field: str, text: str, n: int) -> np.ndarray:
  found = re.fullmatch(r'\s*([0-9]{0,18})\s*:\s*([0-9]{0,18})\s*', text)
  if not found:
    raise UserError(f'{field}: {text.strip()!r} is malformed; expected {GRAMMAR}.')
  start, stop = int(found[1] or 0), int(found[2] or n)
  if stop > n or start > n:
    raise UserError(f'{field}: {text.strip()!r} reaches outside the data, which has {n} rows (0:{n}).')
  if start >= stop:
    raise UserError(f'{field}: {text.strip()!r} names no rows; a range a:b holds the rows a to b - 1.')
  return np.arange(start, stop, dtype=np.int64)


def _read_rows(field: str, file: Path, ids: np.ndarray, names: Sequence[str] | np.ndarray) -> np.ndarray:
  """Reads a text file of row numbers, sample ids or names of images, one a line; empty lines, a header and '#' comments
  are skipped."""
  with reading.reading(f'{field}: {file}', 'a list of rows', ''):
    lines = table.decoded(file, file.read_bytes()).splitlines()
  place, found = {str(name): row for row, name in enumerate(ids)}, match.Names(names)
  rows, bad = [], []
  for number, line in enumerate(lines, 1):
    word = plain(line.partition('#')[0]).strip('"')
    if not word or (not rows and not bad and (word.lower() == 'row' or label_file.names_images(word))):
      continue
    if word not in place and (not word.isdecimal() or str(int(word[:18])) != word):  # 00012 is a name, 12 a row
      fits = found.find(plain(line).strip('"'))[0] or found.find(word)[0]
      row = fits[0] if len(fits) == 1 else -1
    else:
      row = place.get(word, int(word) if len(word) < 19 else -1)
    if 0 <= row < len(ids):
      rows.append(row)
    else:
      bad.append(f'line {number}: {word[:200]!r}')
  if bad:
    more = f' and {len(bad) - 5} more' if len(bad) > 5 else ''
    raise UserError(
      f'{field}: {file}: {"; ".join(bad[:5])}{more}; expected row numbers 0..{len(ids) - 1}, sample ids, or names of '
      f'images such as {names[0]!r}.'
    )
  if not rows:
    raise UserError(f'{field}: {file}: names no rows.')
  return np.unique(np.array(rows, np.int64))


def _spec(field: str, dataset: Dataset, config: Any, part: np.ndarray) -> float | np.ndarray | None:
  """Returns a fraction, the rows that `data.val` or `data.test` names, or None; `part` [N] is the source's own."""
  if config[field] != 'source':
    return parse(f'data.{field}', config[field], dataset.ids, dataset.names) if config[field] else None
  if not part.any():
    kind = {'val': 'validation', 'test': 'test'}[field]
    raise UserError(f"data.{field}: 'source', but this source has no {kind} part of its own.")
  return np.flatnonzero(part)


def _check_scored(field: str, rows: np.ndarray, scores: dict[str, np.ndarray], config: Any) -> None:
  """Rows that validate or test must exist, and have the labels that are to score them."""
  if not len(rows):
    raise UserError(f'data.{field}: {config[field]!r} leaves no rows.')
  kind = config[f'{field}_labels']
  bad = rows[scores[kind][rows] < 0]
  if len(bad):
    raise UserError(
      f'data.{field}_labels: {kind!r}, but {len(bad)} of the {len(rows)} rows of data.{field} have no {kind} label '
      f'(the first is row {bad[0]}).'
    )


def _check_classes(dataset: Dataset, train: np.ndarray, config: Any, notes: list[str]) -> None:
  """Training rows must exist, and have labels of two classes; a class without any is noted."""
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
  """Notes on images that have rows in two parts, which only ranges and files can bring about."""
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
