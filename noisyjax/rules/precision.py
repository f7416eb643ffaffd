"""The precision of a rule, estimated on frozen labels, with a Wilson interval (Wilson 1927).

Frozen rows rarely have the classes in the shares in which the other rows have them: a set of 100 dogs and 100 muffins
overrates how often "muffin" is right among rows of which nine in ten are dogs. So each frozen row counts by its class:
the share of the class among the other rows over that among the frozen ones. These shares are estimated from the
predictions (label shift; Lipton et al. 2018, "Detecting and Correcting for Label Shift with Black Box Predictors",
eq. 3): q with A q = m, for A[i, j] = P(predicted i | true j) on frozen rows, and m the predictions on the other rows.
Where predictions hardly tell classes apart, q stays near the shares among frozen rows (as in Azizzadenesheli et al.
2019, "Regularized Learning for Domain Adaptation under Label Shifts").
"""

from typing import Any

import numpy as np
import scipy.optimize

from noisyjax.estimate.interval import wilson
from noisyjax.estimate.pairs import count_pairs

RIDGE = 0.1  # pulls q towards the shares among frozen rows; squared, it stands beside the eigenvalues of AᵀA


def lower(right: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Returns the lower bound of the weighted precision of the first 1, 2, …, n proposals, float64 [n].

  Args:
    right: bool [n].
    weight: float [n].
  """
  total, squares = np.cumsum(weight), np.cumsum(weight**2)
  share = np.divide(np.cumsum(weight * right), total, out=np.zeros(len(total)), where=total > 0)
  count = np.divide(total**2, squares, out=np.zeros(len(total)), where=squares > 0)
  return wilson(share * count, count)[0]


def rated(right: np.ndarray, weight: np.ndarray) -> dict[str, Any]:
  """Returns the number of proposals and of right ones, and the weighted precision with its interval.

  The interval is Wilson's for the effective number of proposals, (Σw)² / Σw² (Kish 1965): their number where all
  weights are equal.

  Args:
    right: bool [n].
    weight: float [n], 0 or more.
  """
  total = float(weight.sum())
  share = float((weight * right).sum()) / total if total else None
  count = total**2 / float((weight**2).sum()) if total else 0.0
  low, high = wilson((share or 0.0) * count, count)
  return {
    'proposed': len(right),
    'right': int(right.sum()),
    'precision': share,
    'low': float(low),
    'high': float(high),
  }


def weights(predicted: np.ndarray, truth: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
  """Returns what each class of the frozen rows counts, float64 [C]; 1 for all if nothing is known of the other rows.

  Args:
    predicted: int [F], predictions on the frozen rows, -1 = unknown.
    truth: int [F], their labels.
    others: int [P], predictions on the other rows, -1 = unknown.
    classes: number of classes C.
  """
  counts = count_pairs(predicted, truth, classes).astype(np.float64)  # [predicted, true]
  frozen = counts.sum(0)
  met = np.bincount(others[others >= 0], minlength=classes).astype(np.float64)
  if not frozen.any() or not met.any():
    return np.ones(classes)
  rates = np.divide(counts, frozen, out=np.zeros_like(counts), where=frozen > 0)
  usual = frozen / frozen.sum()
  equations = np.concatenate([rates, RIDGE * np.eye(classes)])
  shares = scipy.optimize.nnls(equations, np.concatenate([met / met.sum(), RIDGE * usual]))[0]
  if not shares.any():
    return np.ones(classes)
  return np.divide(shares / shares.sum(), usual, out=np.ones(classes), where=frozen > 0)
