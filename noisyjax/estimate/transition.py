"""The transition matrix T: which labels are given to a row of which true class; rows = true, columns = given, sum 1.

Four estimates: `anchors` and `from_joint` from predictions alone, `from_pairs` and `gold` from trusted rows. A class of
which an estimate knows nothing keeps its label: its row of T is the identity's.
"""

import jax
import jax.numpy as jnp
import numpy as np

from noisyjax.estimate.rank import means
from noisyjax.system.errors import UserError

Array = jax.Array


def check(field: str, matrix, classes: int) -> None:
  """Raises UserError, naming the field, unless `matrix` is () or `classes` rows of probabilities that sum to 1."""
  if not len(matrix):
    return
  square = [np.size(row) for row in matrix] == [classes] * classes
  if not square or np.min(matrix) < 0 or not np.allclose(np.sum(matrix, 1), 1, atol=1e-4):
    raise UserError(f'{field}: expected {classes} rows of as many probabilities that sum to 1 (rows = true).')


def _rows(counts: Array) -> Array:
  """Returns counts [C, C] with rows that sum to 1; an empty row becomes the identity's."""
  total = counts.sum(1, keepdims=True)
  return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1.0), jnp.eye(len(counts)))


def anchors(probs: Array, keep: Array, percentile: Array | float = 97.0) -> Array:
  """Estimates T from the noisy posterior of one row a class (Patrini et al. 2017, eqs. 12 and 13).

  The row of class i is the one whose p_i stands at the percentile of all p_i: 97 for CIFAR-10, 100 (the argmax) for
  CIFAR-100 in the paper. Of the rows below the percentile it is the first, as in the official code.

  Args:
    probs: [N, C], of networks that learned the given labels. keep: bool [N]. percentile: in [0, 100].
  """
  probs, n = jnp.asarray(probs, jnp.float32), keep.sum()
  order = jnp.where(keep[:, None], probs, -jnp.inf).argsort(0)  # rows that do not count come first
  below = jnp.where(percentile < 100, jnp.maximum(jnp.ceil(percentile * (n - 1) / 100) - 1, 0), n - 1)
  place = len(probs) - n + below.astype(jnp.int32)
  chosen = probs[order[jnp.clip(place, 0, len(probs) - 1)]]  # [C, C]
  return _rows(jnp.where(n > 0, chosen, 0.0))


def from_joint(joint: Array) -> Array:
  """Estimates T from the joint of given (rows) and true labels (columns), such as `confident.joint`'s."""
  return _rows(joint.T)


def from_pairs(verified: Array, given: Array, classes: int, keep: Array | None = None, prior: float = 1.0) -> Array:
  """Estimates T by counting the rows that have both labels.

  Args:
    verified, given: int32 [N], -1 = none. keep: bool [N], rows that count; None: all. prior: rows that are added to
      each class that has any, spread evenly over the labels: what a few rows never showed is rare, not impossible.
  """
  both = (verified >= 0) & (given >= 0)
  both = both if keep is None else both & keep
  cell = jnp.where(both, verified * classes + given, classes * classes)
  counts = jnp.bincount(cell, length=classes * classes + 1)[:-1].reshape(classes, classes)
  return _rows(jnp.where(counts.any(1, keepdims=True), counts + prior / classes, 0.0))


def gold(probs: Array, verified: Array, classes: int, keep: Array | None = None) -> Array:
  """Estimates T as the mean prediction over the trusted rows of each class (Hendrycks et al. 2018, section 3).

  Args:
    probs: [N, C], of networks that learned the given labels. verified: int32 [N], -1 = none. keep: bool [N] or None.
  """
  trusted = verified >= 0 if keep is None else (verified >= 0) & keep
  probs = jnp.where(trusted[:, None], probs, 0.0)
  return _rows(means(probs, jnp.where(trusted, verified, classes), classes))


def posterior(probs: Array, given: Array, matrix: Array) -> Array:
  """Returns p(true | image, given) ∝ p(true | image) T[true, given]: what a given label adds to a prediction.

  Args:
    probs: [..., N, C]. given: int32 [N]; a row without a given label (-1) keeps its prediction. matrix: T [C, C].
  """
  likely = probs * jnp.where(given[:, None] >= 0, matrix.T[given], 1.0)
  total = likely.sum(-1, keepdims=True)
  return jnp.where(total > 0, likely / jnp.where(total > 0, total, 1.0), probs)
