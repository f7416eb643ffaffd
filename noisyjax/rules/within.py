"""Values compared within groups of rows: with the rows of the same class, or with the labels of the same cluster."""

import numpy as np


def share_below(values: np.ndarray, group: np.ndarray) -> np.ndarray:
  """Returns the share of the values of a row's group that are at most its own, float64 [N]; NaN where it has none.

  Args:
    values: float [N]; NaN = none.
    group: int [N]; rows below 0 are in no group.
  """
  out = np.full(len(values), np.nan)
  for number in np.unique(group[group >= 0]):
    mine = np.flatnonzero((group == number) & ~np.isnan(values))
    own = values[mine]
    out[mine] = np.searchsorted(np.sort(own), own, side='right') / max(len(own), 1)
  return out


def majority(labels: np.ndarray, cluster: np.ndarray, classes: int, least: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns the most frequent label among the other rows of each row's cluster, and its share among their labels.

  Args:
    labels: int [N]; -1 = unlabeled.
    cluster: int [N]; -1 = in no cluster.
    classes: number of classes.
    least: labeled rows that there must be besides the row itself.

  Returns:
    label, int32 [N], and share, float64 [N]; -1 and NaN where there are too few labeled rows.
  """
  votes = np.zeros((int(cluster.max(initial=-1)) + 1, classes))
  labeled = (labels >= 0) & (cluster >= 0)
  np.add.at(votes, (cluster[labeled], labels[labeled]), 1)
  others = votes[np.maximum(cluster, 0)] if len(votes) else np.zeros((len(labels), classes))  # [N, C]
  others[np.flatnonzero(labeled), labels[labeled]] -= 1
  total = others.sum(1)
  known = (cluster >= 0) & (total >= max(least, 1))
  share = np.divide(others.max(1), total, out=np.full(len(labels), np.nan), where=known)
  return np.where(known, others.argmax(1), -1).astype(np.int32), share
