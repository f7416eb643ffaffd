"""Where a rule's threshold comes from: a fixed score, a quantile, or the precision it reaches on frozen labels."""

import dataclasses

import numpy as np
import scipy.optimize
import scipy.special

from noisyjax.rules import precision
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base

COLD, HOT = 0.05, 20.0  # bounds of the temperature


def temperature(probs: np.ndarray, truth: np.ndarray) -> float:
  """Returns the temperature that minimises the cross-entropy of the scaled probabilities (Guo et al. 2017, sec. 4.2).

  Args:
    probs: float [n, C].
    truth: int [n], labels.

  Returns:
    A number from COLD to HOT; 1.0 if there are no rows.
  """
  if not len(truth):
    return 1.0
  logs = np.log(np.maximum(np.asarray(probs, np.float64), 1e-12))

  def loss(log_t: float) -> float:
    return -float(scipy.special.log_softmax(logs / np.exp(log_t), 1)[np.arange(len(truth)), truth].mean())

  found = scipy.optimize.minimize_scalar(loss, bounds=(np.log(COLD), np.log(HOT)), method='bounded')
  return float(np.exp(found.x))


def scaled(evidence: Evidence, heat: float) -> Evidence:
  """Returns evidence whose probabilities are softmax(log p / temperature)."""
  logs = np.log(np.maximum(evidence.probs.astype(np.float64), 1e-12)) / heat
  return dataclasses.replace(evidence, probs=scipy.special.softmax(logs, 1).astype(np.float32))


def quantiles(rule: Base, group: np.ndarray, score: np.ndarray, groups: int) -> np.ndarray:
  """Returns the quantile `threshold` of the scores, float64 [G]: of each group's with `per_class`, else of all."""
  of = lambda values: float(np.quantile(values, rule.threshold, method='higher')) if len(values) else np.inf
  if rule.per_class:
    return np.array([of(score[group == k]) for k in range(groups)])
  return np.full(groups, of(score))


def calibrated(
  rule: Base, group: np.ndarray, score: np.ndarray, right: np.ndarray, weight: np.ndarray, groups: int
) -> np.ndarray:
  """Returns the lowest scores at which the lower bound of the precision reaches `target`, float64 [G]; inf if none.

  The bound holds for one threshold. It is somewhat too high at a threshold that was searched for among several.

  Args:
    rule: its `target` and `per_class`.
    group: int [n], classes of the proposals about frozen rows.
    score: float [n].
    right: bool [n], which of them are right.
    weight: float [n].
    groups: number of groups.
  """

  def lowest(mine: np.ndarray) -> float:
    order = mine[np.argsort(-score[mine], kind='stable')]
    bound = precision.lower(right[order], weight[order])
    last = np.append(score[order][1:] != score[order][:-1], True)[: len(order)]  # of its score: ties stay together
    good = np.flatnonzero(last & (bound >= rule.target))
    return float(score[order][good[-1]]) if len(good) else np.inf

  if rule.per_class:
    return np.array([lowest(np.flatnonzero(group == k)) for k in range(groups)])
  return np.full(groups, lowest(np.arange(len(score))))
