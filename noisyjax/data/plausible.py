"""Warns where labels disagree so often that noise is an unlikely cause, and names the likely one."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from noisyjax.estimate.scoring import confusion
from noisyjax.system.errors import listed

SUSPICIOUS = 0.6  # part of the labels that differ
FEWEST = 10  # labels that are judged at all
EXPLAINED = 0.5  # part that a cause must bring to agree
_MOST = 2000  # classes: the assignment below takes their third power


def doubt(labels: np.ndarray, other: np.ndarray, classes: Sequence[str], what: str, option: str = '') -> str:
  """Returns a warning if 60 % or more of the labels differ from `other`, with the likely cause; '' if fewer do.

  Args:
    labels, other: int [N], -1 = none; rows without either are left out. classes: names.
    what: what `other` is. option: by which a person can give the order of its classes, if they were columns.
  """
  both = (labels >= 0) & (other >= 0)
  count, differ = int(both.sum()), float(np.mean(labels[both] != other[both])) if both.any() else 0.0
  if differ < SUSPICIOUS or count < FEWEST:
    return ''
  a, b, now = labels[both], other[both], 1 - differ
  causes = [*_shifts(a, b), *_orders(a, b, classes, option), *_rows(labels, other)]
  agree, cause = max(causes, key=lambda found: found[0])
  if (b == b[0]).all():
    cause = f'All of these are {classes[b[0]]!r}.'
  elif agree < EXPLAINED or agree < now + 0.2:
    cause = 'No other order of classes or rows explains it: do the labels belong to these images?'
  return f'{differ:.0%} of {count} labels differ from {what}. {cause}'


def _shifts(labels: np.ndarray, other: np.ndarray) -> Iterator[tuple[float, str]]:
  """Off by one: numbers from 1 in one place and from 0 in the other."""
  for step, what in ((1, 'next'), (-1, 'previous')):
    agree = float(np.mean(labels == other + step))
    yield agree, f'Off by one? With the {what} class in the place of each, {agree:.0%} agree.'


def _orders(labels: np.ndarray, other: np.ndarray, classes: Sequence[str], option: str) -> Iterator[tuple[float, str]]:
  """The same classes in another order: the best assignment of one to the other."""
  C = len(classes)
  if C > _MOST or len(labels) < 3 * C:  # a few rows fit some order by chance
    return
  counts = confusion(other, labels, C)
  _, best = linear_sum_assignment(-counts)
  agree = counts[np.arange(C), best].sum() / len(labels)
  order = [classes[c] for c in best]
  if option:
    yield agree, f'Column order? As {listed(order)}, {agree:.0%} agree; if that is it: {option}={",".join(order)}.'
  else:
    moved = listed(f'{new} for {old}' for new, old in zip(order, classes) if new != old)
    yield agree, f'Another order of the classes? With {moved}, {agree:.0%} agree.'


def _rows(labels: np.ndarray, other: np.ndarray) -> Iterator[tuple[float, str]]:
  """The same rows, moved by one: a header that was counted, or one that was not."""
  for step, what in ((1, 'above'), (-1, 'below')):
    moved = np.roll(other, step)
    both = (labels >= 0) & (moved >= 0)
    agree = float(np.mean(labels[both] == moved[both])) if both.any() else 0.0
    yield agree, f'Rows off by one? With the row {what} in the place of each, {agree:.0%} agree.'
