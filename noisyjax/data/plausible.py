"""Warns if two sets of labels disagree so often that label noise is an unlikely cause, and names a likely cause."""

import shlex
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from noisyjax.estimate.scoring import confusion
from noisyjax.system.errors import listed

SUSPICIOUS = 0.6  # fraction of differing labels from which on a warning is given
FEWEST = 10  # minimum number of labels for a warning
EXPLAINED = 0.5  # fraction of labels that must agree after a cause is undone
_MOST = 2000  # maximum number of classes: the time of the assignment grows with its third power


def doubt(labels: np.ndarray, other: np.ndarray, classes: Sequence[str], what: str, option: str = '') -> str:
  """Returns a warning with the likely cause if at least 60 % of the labels differ from `other`; otherwise ''.

  Args:
    labels: int [N]; -1 = unlabeled. Rows that lack one of the two labels are left out.
    other: int [N]; -1 = none.
    classes: class names.
    what: name of `other` in the message.
    option: name of the option that sets the order of the classes, if `other` comes from columns; '' otherwise.
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
  """Yields the agreement if one set of labels counts classes from 1 and the other from 0."""
  for step, what in ((1, 'next'), (-1, 'previous')):
    agree = float(np.mean(labels == other + step))
    yield agree, f'Off by one? With the {what} class in the place of each, {agree:.0%} agree.'


def _orders(labels: np.ndarray, other: np.ndarray, classes: Sequence[str], option: str) -> Iterator[tuple[float, str]]:
  """Yields the agreement under the best assignment of the classes of one set to those of the other."""
  C = len(classes)
  if C > _MOST or len(labels) < 3 * C:  # a few rows always fit some order by chance
    return
  counts = confusion(other, labels, C)
  _, best = linear_sum_assignment(-counts)
  agree = counts[np.arange(C), best].sum() / len(labels)
  order = [classes[c] for c in best]
  if option:
    quoted = ','.join(f'"{name}"' if ',' in name else name for name in order)
    flag = shlex.quote(quoted) if option.startswith('--') else repr(order)
    yield agree, f'Column order? As {listed(order)}, {agree:.0%} agree; if that is it: {option}={flag}.'
  else:
    moved = listed(f'{new} for {old}' for new, old in zip(order, classes) if new != old)
    yield agree, f'Another order of the classes? With {moved}, {agree:.0%} agree.'


def _rows(labels: np.ndarray, other: np.ndarray) -> Iterator[tuple[float, str]]:
  """Yields the agreement if the rows are shifted by one, as by a header that is wrongly counted or skipped."""
  for step, what in ((1, 'above'), (-1, 'below')):
    moved = np.roll(other, step)
    both = (labels >= 0) & (moved >= 0)
    agree = float(np.mean(labels[both] == moved[both])) if both.any() else 0.0
    yield agree, f'Rows off by one? With the row {what} in the place of each, {agree:.0%} agree.'
