"""How many proposals are taken of each class: caps, a total, and balance between the classes. The surest come first."""

import numpy as np

from noisyjax.rules.rule import Base


def taken(rule: Base, group: np.ndarray, score: np.ndarray, passed: np.ndarray) -> np.ndarray:
  """Returns which candidates are proposed, bool [n].

  Args:
    rule: its `cap`, `total` and `balance`.
    group: int [n], class of each candidate, 0 or more.
    score: float [n]; candidates of equal score are taken in their order.
    passed: bool [n], candidates that reach the threshold.
  """
  candidates = np.bincount(group, minlength=1)  # [G]
  rank = np.zeros(len(group), np.int64)  # within the class, among those that passed; 0 = the surest
  for k in np.flatnonzero(candidates):
    mine = np.flatnonzero(passed & (group == k))
    rank[mine[np.argsort(-score[mine], kind='stable')]] = np.arange(len(mine))
  keep = passed & (rank < rule.cap) if rule.cap else passed.copy()
  left = np.bincount(group[keep], minlength=len(candidates))
  there = candidates > 0
  before = np.where(keep, -score, np.inf)  # the order in which `total` takes them
  if rule.balance == 'number' and there.any():
    keep &= rank < left[there].min()
    before = np.where(keep, rank, np.inf)
  elif rule.balance == 'share' and there.any():
    share = (left[there] / candidates[there]).min()
    keep &= rank + 1 <= share * candidates[group] + 1e-9
    before = np.where(keep, rank / candidates[group], np.inf)
  if rule.total and keep.sum() > rule.total:
    keep[np.lexsort((-score, before))[rule.total :]] = False
  return keep
