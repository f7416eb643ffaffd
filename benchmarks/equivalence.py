"""Two one-sided t tests on paired differences (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15, 657–680)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05  # of each of the two tests


class Equivalence(NamedTuple):
  """The result of the tests.

  Attributes:
    mean: mean difference.
    sigma: sample standard deviation of the differences.
    low: lower end of the 90 % confidence interval of the mean difference.
    high: its upper end.
    p: the larger p-value of the two tests.
    power: probability that the tests find equivalence, if the true difference is 0 and σ is as observed.
    equivalent: whether the interval lies within ± margin, which is the same as p < 0.05.
  """

  mean: float
  sigma: float
  low: float
  high: float
  p: float
  power: float
  equivalent: bool


def equivalence(differences: Sequence[float], margin: float) -> Equivalence:
  """Tests whether the mean of paired differences lies within ± margin.

  Args:
    differences: one per pair, two or more.
    margin: the largest difference that does not matter, in the unit of the differences.
  """
  values = np.asarray(differences, np.float64)
  count, mean, sigma = len(values), values.mean(), values.std(ddof=1)
  error = sigma / np.sqrt(count)
  half = stats.t.ppf(1 - LEVEL, count - 1) * error
  with np.errstate(divide='ignore'):  # equal pairs have no error: t is infinite, and p is 0 or 1
    p = stats.t.sf((margin - abs(mean)) / error, count - 1)
  power = _power(sigma, count, margin)
  return Equivalence(*map(float, (mean, sigma, mean - half, mean + half, p, power)), equivalent=bool(p < LEVEL))


def _power(sigma: float, count: int, margin: float) -> float:
  """Returns the power at a true difference of 0: the mean over the distribution of the observed σ."""
  if not sigma:
    return 1.0
  quantile = (np.arange(10_000) + 0.5) / 10_000
  seen = sigma * np.sqrt(stats.chi2.ppf(quantile, count - 1) / (count - 1))
  error = sigma / np.sqrt(count)
  room = margin - stats.t.ppf(1 - LEVEL, count - 1) * seen / np.sqrt(count)  # what the mean may be at most
  return (2 * stats.norm.cdf(np.maximum(room, 0) / error) - 1).mean()
