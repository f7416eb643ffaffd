"""Outliers: points whose neighbours are far away, measured by what is usual in their class."""

import numpy as np


def outlier_scores(distance: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the mean distance to the k neighbours over the median of this mean in the row's class, float32 [N].

  1 is usual, 2 twice as far as usual. Where the median is 0, a row at distance 0 has 1, and any other infinity.

  Args:
    distance: distances to the k nearest neighbours [N, k].
    labels: int [N], the class of each row, such as its label or else its prediction; −1 is a class of its own.
  """
  mean = distance.mean(1, dtype=np.float64)
  kinds, group = np.unique(labels, return_inverse=True)
  usual = np.array([np.median(mean[group == kind]) for kind in range(len(kinds))])[group]
  ratio = np.divide(mean, usual, out=np.full(len(mean), np.inf), where=usual > 0)
  return np.where((usual == 0) & (mean == 0), 1.0, ratio).astype(np.float32)
