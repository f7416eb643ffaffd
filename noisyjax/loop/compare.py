"""Whether a version is better than another: paired, on labels frozen in version 0, at equal steps and seeds."""

from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from noisyjax.data import split
from noisyjax.estimate.interval import wilson
from noisyjax.tables.rows import TRAIN, VAL, Rows

DRAWS = 2000  # of the bootstrap


def frozen_labels(rows: Rows, folds: int) -> np.ndarray:
  """Returns the labels of version 0 that compare versions and estimate the precision of rules, int32 [N]; -1 = none.

  Where labels were checked, they are those of the checked rows; otherwise all labels that the source gave. Without
  folds, in which the networks judge what they trained on, they are those of the validation rows, if there are any.

  Args:
    rows: of version 0.
    folds: number of folds.
  """
  used = (rows.split == TRAIN) | (rows.split == VAL)
  if not folds and (rows.split == VAL).any():
    used = rows.split == VAL
  labels = rows.verified if (used & (rows.verified >= 0)).any() else rows.label
  return np.where(used, labels, -1).astype(np.int32)


class Score(NamedTuple):
  """How the networks of a version do on frozen labels.

  Attributes:
    accuracy: of the mean of the seeds.
    loss: mean cross-entropy of the mean of the seeds.
    seeds: accuracy of each seed.
    right: bool [n], whether the mean of the seeds is right.
  """

  accuracy: float
  loss: float
  seeds: list[float]
  right: np.ndarray

  def told(self) -> dict[str, Any]:
    """Returns the score for JSON, with a 95 % interval (Wilson) of the accuracy."""
    rows = len(self.right)
    interval = [float(end) for end in wilson(self.accuracy * rows, rows)]
    found = {'rows': rows, 'accuracy': self.accuracy, 'interval': interval, 'loss': self.loss}
    return {**found, 'seeds': self.seeds}


def judged(own: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns the rows that have a frozen label and predictions of all seeds, int64 [n]; arguments as in `score`."""
  return np.flatnonzero((truth >= 0) & np.isfinite(own).all((0, 2)))


def score(own: np.ndarray, truth: np.ndarray) -> Score:
  """Scores networks.

  Args:
    own: float32 [S, N, C], probabilities by networks that set the row aside.
    truth: int [N], frozen labels; -1 = none.
  """
  place = judged(own, truth)
  true, probs = truth[place], own[:, place].astype(np.float64)
  mean = probs.mean(0)
  right = mean.argmax(1) == true
  loss = -np.log(np.maximum(mean[np.arange(len(place)), true], 1e-12))
  share = lambda values: float(values.mean()) if len(place) else 0.0
  return Score(share(right), share(loss), [share(p.argmax(1) == true) for p in probs], right)


def paired(old: np.ndarray, new: np.ndarray, seed: int) -> dict[str, Any]:
  """Compares two classifiers on the same rows.

  McNemar's exact test is the binomial test on the rows that only one of them has right (McNemar 1947).

  Args:
    old: bool [n], whether the old one is right.
    new: bool [n], whether the new one is right.
    seed: of the bootstrap over rows.

  Returns:
    difference: accuracy of the new one minus that of the old one.
    interval: 95 % interval of the difference, by the paired bootstrap (percentiles).
    only_old: number of rows that only the old one has right.
    only_new: number of rows that only the new one has right.
    p: of McNemar's exact test, two-sided; 1 if no row differs.
  """
  gain = new.astype(np.int64) - old
  only_old, only_new = int((gain < 0).sum()), int((gain > 0).sum())
  differ = only_old + only_new
  # A resample holds multinomial numbers of the three kinds of rows.
  n = max(len(gain), 1)
  kinds = split.rng(seed, 'bootstrap').multinomial(n, [only_old / n, only_new / n, 1 - differ / n], DRAWS)
  low, high = np.percentile((kinds[:, 1] - kinds[:, 0]) / n, [2.5, 97.5])
  return {
    'difference': (only_new - only_old) / n,
    'interval': [float(low), float(high)],
    'only_old': only_old,
    'only_new': only_new,
    'p': float(scipy.stats.binomtest(only_new, differ).pvalue) if differ else 1.0,
  }
