"""Estimates of the transition matrix T[true, given], the probability of a given label for each true class.

Rows are true classes and sum to 1; columns are given classes. `anchors` and `from_joint` use predictions alone,
`from_pairs` and `gold` use trusted rows. If there is no evidence about a class, its row of T is that of the identity.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.estimate.pairs import count_pairs
from noisyjax.estimate.rank import means
from noisyjax.system.errors import UserError


def check(field: str, matrix: Sequence[Sequence[float]], classes: int) -> None:
  """Raises UserError unless `matrix` is () or has `classes` rows of `classes` probabilities that sum to 1."""
  if not len(matrix):
    return
  square = [np.size(row) for row in matrix] == [classes] * classes
  if not square or np.min(matrix) < 0 or not np.allclose(np.sum(matrix, 1), 1, atol=1e-4):
    raise UserError(
      f'{field}: expected a matrix of {classes} x {classes} probabilities, one row per true class, with rows that sum '
      'to 1.'
    )


def _rows(counts: Array) -> Array:
  """Returns counts [C, C] with each row divided by its sum; an empty row becomes that of the identity."""
  total = counts.sum(1, keepdims=True)
  return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1.0), jnp.eye(len(counts)))


def anchors(probs: Array, keep: Array, percentile: Array | float = 97.0) -> Array:
  """Estimates T from the noisy posterior of one row, the anchor, of each class (Patrini et al. 2017, eqs. 12 and 13).

  The anchor of class i is the row whose p_i lies at the given percentile of all p_i: in the paper 97 for CIFAR-10 and
  100 (the argmax) for CIFAR-100. As in the official code, it is the row with the largest p_i below the percentile.

  Args:
    probs: [N, C], predicted by networks that were trained on the given labels.
    keep: bool [N], the rows to use.
    percentile: in [0, 100].
  """
  probs, n = jnp.asarray(probs, jnp.float32), keep.sum()
  order = jnp.where(keep[:, None], probs, -jnp.inf).argsort(0)  # ignored rows come first
  below = jnp.where(percentile < 100, jnp.maximum(jnp.ceil(percentile * (n - 1) / 100) - 1, 0), n - 1)
  place = len(probs) - n + below.astype(jnp.int32)
  chosen = probs[order[jnp.clip(place, 0, len(probs) - 1)]]  # [C, C]
  return _rows(jnp.where(n > 0, chosen, 0.0))


def from_joint(joint: Array) -> Array:
  """Estimates T from the joint distribution of given (rows) and true (columns) labels, as `confident.joint` returns."""
  return _rows(joint.T)


def from_pairs(verified: Array, given: Array, classes: int, keep: Array | None = None, prior: float = 1.0) -> Array:
  """Estimates T by counting the rows that have both labels.

  Args:
    verified: verified labels, int32 [N]; -1 = not verified.
    given: given labels, int32 [N]; -1 = unlabeled.
    classes: number of classes.
    keep: bool [N], the rows to use; None: all.
    prior: number of pseudo-rows added to each class that has rows, spread evenly over the labels, so that a transition
      that a few rows do not show gets a small probability and not 0.
  """
  counts = count_pairs(verified if keep is None else jnp.where(keep, verified, -1), jnp.asarray(given), classes)
  return _rows(jnp.where(counts.any(1, keepdims=True), counts + prior / classes, 0.0))


def gold(probs: Array, verified: Array, classes: int, keep: Array | None = None) -> Array:
  """Estimates T as the mean prediction over the trusted rows of each class (Hendrycks et al. 2018, section 3).

  Args:
    probs: [N, C], predicted by networks that were trained on the given labels.
    verified: verified labels, int32 [N]; -1 = not verified.
    classes: number of classes.
    keep: bool [N], the rows to use; None: all.
  """
  trusted = verified >= 0 if keep is None else (verified >= 0) & keep
  probs = jnp.where(trusted[:, None], probs, 0.0)
  return _rows(means(probs, jnp.where(trusted, verified, classes), classes))


def posterior(probs: Array, given: Array, matrix: Array) -> Array:
  """Returns p(true | image, given) ∝ p(true | image) T[true, given]: predictions updated by the given labels.

  Args:
    probs: p(true | image) [..., N, C].
    given: given labels, int32 [N]; a row without a label (-1) keeps its prediction.
    matrix: T [C, C].
  """
  likely = probs * jnp.where(given[:, None] >= 0, matrix.T[given], 1.0)
  total = likely.sum(-1, keepdims=True)
  return jnp.where(total > 0, likely / jnp.where(total > 0, total, 1.0), probs)
