"""Confident learning (Northcutt et al. 2021): finds wrong labels from out-of-sample probabilities.

The threshold t_j is the mean of p_j over the rows labeled j. A row is counted in C[given, j] for the class j whose
threshold it reaches. The rows of C, the confident joint, are scaled to the label counts; C / N is then the joint
distribution of given and true labels. Seven filters turn it into flags, and four scores rate each label (0 bad, 1
good).

All functions agree with cleanlab 2.9 and run under jit. Rows of matrices are given classes, columns are true classes.
As in cleanlab, a row that reaches several thresholds counts for its argmax over all classes; eq. 1 of the paper takes
the argmax over the classes whose threshold it reaches.

Departures from cleanlab: float32; stable sorting and exact rounding, so that ties are always resolved the same way
(cleanlab leaves them to float64 rounding errors). Rows outside `keep`, and rows whose label is not in [0, C), are
ignored.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.estimate.pairs import count_pairs
from noisyjax.estimate.rank import means, place, rank

DUST = 1e-6  # values closer than this count as equal
FLOOR = 2 * DUST  # lowest threshold
NEVER = 2.0  # threshold of a class without rows: no probability reaches it


# --- counts ---------------------------------------------------------------------------------------


def _groups(probs: Array, labels: Array, keep: Array | None) -> tuple[Array, Array]:
  """Returns the probabilities in float32 and each row's label, with C as the label of ignored rows."""
  if probs.ndim != 2 or labels.shape != probs.shape[:1] or (keep is not None and keep.shape != labels.shape):
    shapes = probs.shape, labels.shape, None if keep is None else keep.shape
    raise ValueError(f'Expected probs [N, C], labels [N] and keep [N], got {shapes}.')
  classes = probs.shape[1]
  labels = jnp.asarray(labels, jnp.int32)
  counts = (labels >= 0) & (labels < classes)
  counts = counts if keep is None else counts & keep
  return jnp.asarray(probs, jnp.float32), jnp.where(counts, labels, classes)


def _own(probs: Array, group: Array) -> Array:
  """Returns each row's probability of its label [N]; the value of ignored rows (label C) has no meaning."""
  return jnp.take_along_axis(probs, jnp.minimum(group, probs.shape[1] - 1)[:, None], 1)[:, 0]


def _sum(values: Array, group: Array, classes: int) -> Array:
  """Returns the sum of values in each of `classes` groups; group `classes` is dropped."""
  return jax.ops.segment_sum(values, group, classes + 1)[:classes]


def label_counts(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns the number of rows with each label, int32 [C]."""
  probs, group = _groups(probs, labels, keep)
  return _sum(jnp.ones_like(group), group, probs.shape[1])


def thresholds(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns the thresholds t_j, the mean probability of class j over the rows labeled j, float32 [C]."""
  probs, group = _groups(probs, labels, keep)
  classes = probs.shape[1]
  mean = means(_own(probs, group), group, classes)
  return jnp.where(label_counts(probs, labels, keep) > 0, jnp.maximum(mean, FLOOR), NEVER)


def guesses(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns the class that each row confidently belongs to, int32 [N]; -1 if it reaches no threshold."""
  probs, group = _groups(probs, labels, keep)
  sure = probs >= thresholds(probs, labels, keep) - DUST  # [N, C]
  found = jnp.where(sure.sum(-1) > 1, probs.argmax(-1), sure.argmax(-1))
  return jnp.where(sure.any(-1) & (group < probs.shape[1]), found, -1).astype(jnp.int32)


def counted(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns the unscaled confident joint, int32 [C given, C true], with a diagonal of at least 1."""
  probs, group = _groups(probs, labels, keep)
  classes = probs.shape[1]
  guess = guesses(probs, labels, keep)
  joint = count_pairs(group, guess, classes)  # a row that is ignored has no guess
  return jnp.maximum(joint, jnp.eye(classes, dtype=jnp.int32))


def _divided(a: Array, n: Array, s: Array) -> tuple[Array, Array]:
  """Returns quotient and remainder of a·n / s for s < 7e8, by long division: exact even if a·n overflows int32."""

  def digit(i: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
    quotient, rest = found
    rest = 2 * rest + ((n >> (30 - i)) & 1) * a
    carry = rest // s
    return 2 * quotient + carry, rest - carry * s

  zero = jnp.zeros_like(a)
  return jax.lax.fori_loop(0, 31, digit, (zero, zero))


def calibrated(joint: Array, counts: Array) -> Array:
  """Returns the joint [C, C] with its rows scaled to the label counts [C], rounded to integers with the same row sums.

  Each entry is rounded to the nearest integer (half to even). If a row then sums to too little, the entries rounded
  down the most gain 1 each (the last among equals); if to too much, the entries rounded up the most lose 1 each (the
  first among equals).
  """
  total = joint.sum(1, keepdims=True)  # [C, 1]
  wanted = counts[:, None]
  low, rest = _divided(joint, wanted, total)
  up = (2 * rest > total) | ((2 * rest == total) & (low % 2 == 1))
  near = low + up
  missing = wanted - near.sum(1, keepdims=True)
  at = place(rest - up * total)  # 0: the entry rounded up the most
  more = len(joint) - 1 - at < missing
  return near + more - (at < -missing)


def joint(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns the joint distribution of given (rows) and true (columns) labels, float32 [C, C], with sum 1."""
  counts = label_counts(probs, labels, keep)
  matrix = calibrated(counted(probs, labels, keep), counts)
  return matrix / jnp.maximum(matrix.sum(), 1)


def num_issues(probs: Array, labels: Array, keep: Array | None = None, calibrate: bool = False) -> Array:
  """Returns the estimated number of wrong labels, int32.

  Args:
    probs: float [N, C].
    labels: int32 [N].
    keep: bool [N], the rows to use; None: all.
    calibrate: False counts the rows that `confident_learning` flags; True counts the off-diagonal entries of the
      calibrated joint.
  """
  if not calibrate:
    return confident_learning(probs, labels, keep).sum()
  counts = label_counts(probs, labels, keep)
  return counts.sum() - jnp.trace(calibrated(counted(probs, labels, keep), counts))


# --- filters: (probs [N, C], labels [N], keep [N]) → bool [N] -------------------------------------


def _doubtful(probs: Array, group: Array, flags: Array) -> Array:
  """Clears the flags of ignored rows and of rows whose label is the prediction or equally likely."""
  lifted = probs + DUST * jax.nn.one_hot(group, probs.shape[1])
  return flags & (lifted.argmax(-1) != group) & (group < probs.shape[1])


def _to_prune(probs: Array, labels: Array, keep: Array | None) -> tuple[Array, Array]:
  """Returns the calibrated joint with a diagonal of at least 1, int32 [C given, C true], and the label counts [C]."""
  counts = label_counts(probs, labels, keep)
  matrix = calibrated(counted(probs, labels, keep), counts)
  eye = jnp.eye(len(matrix), dtype=jnp.int32)
  diagonal = jnp.diag(matrix)
  raised = (diagonal < 1).astype(jnp.int32)  # raising a diagonal entry to 1 lowers the other entries of its row by 1
  others = jnp.maximum(matrix - raised[:, None], 0) * (1 - eye)
  # The only row of a class is never pruned.
  return jnp.where((counts > 1)[:, None], others, 0) + eye * (diagonal + raised), counts


def _flag_by_noise_rate(probs: Array, group: Array, matrix: Array) -> Array:
  """Returns `prune_by_noise_rate` before `_doubtful`, from the matrix of `_to_prune`."""
  classes = probs.shape[1]
  own = _own(probs, group)
  few = jnp.concatenate([matrix * (1 - jnp.eye(classes, dtype=matrix.dtype)), jnp.zeros((1, classes), matrix.dtype)])

  likely = (-few).argsort(1)  # true classes of each given class, in descending order of their counts

  def flag(turn: Array, flags: Array) -> Array:
    other = likely[group, turn]  # [N]
    margin = own - jnp.take_along_axis(probs, other[:, None], 1)[:, 0]
    return flags | (rank(margin, group, classes) < few[group, other])

  turns = (few > 0).sum(1).max()  # skips the pairs with nothing to prune: most of them, if there are many classes
  return jax.lax.fori_loop(0, turns, flag, jnp.zeros(len(group), bool))


def _flag_by_class(probs: Array, group: Array, matrix: Array, counts: Array) -> Array:
  """Returns `prune_by_class` before `_doubtful`, from the matrix and counts of `_to_prune`."""
  few = jnp.where(counts > 1, counts - jnp.diag(matrix), 0)
  return rank(_own(probs, group), group, len(matrix)) < jnp.append(few, 0)[group]


def prune_by_noise_rate(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags, for each pair (given i, true j), the C[i, j] rows labeled i with the largest p_j − p_i."""
  probs, group = _groups(probs, labels, keep)
  return _doubtful(probs, group, _flag_by_noise_rate(probs, group, _to_prune(probs, labels, keep)[0]))


def prune_by_class(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags, for each class i, the Σ_{j≠i} C[i, j] rows labeled i with the smallest p_i."""
  probs, group = _groups(probs, labels, keep)
  return _doubtful(probs, group, _flag_by_class(probs, group, *_to_prune(probs, labels, keep)))


def both(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags the rows that both `prune_by_noise_rate` and `prune_by_class` flag."""
  return prune_by_noise_rate(probs, labels, keep) & prune_by_class(probs, labels, keep)


def confident_learning(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags the rows counted off the diagonal of the confident joint."""
  probs, group = _groups(probs, labels, keep)
  guess = guesses(probs, labels, keep)
  return _doubtful(probs, group, (guess >= 0) & (guess != group))


def predicted_neq_given(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags the rows whose argmax is not their label."""
  probs, group = _groups(probs, labels, keep)
  return _doubtful(probs, group, probs.argmax(-1) != group)


def _lowest(score: Callable[[Array, Array], Array], probs: Array, labels: Array, keep: Array | None) -> Array:
  """Flags the `num_issues` rows with the lowest score."""
  probs, group = _groups(probs, labels, keep)
  out = group == probs.shape[1]
  return ~out & (rank(score(probs, labels), out.astype(jnp.int32), 1) < num_issues(probs, labels, keep))


def low_normalized_margin(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags the `num_issues` rows with the lowest normalized margin."""
  return _lowest(normalized_margin, probs, labels, keep)


def low_self_confidence(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Flags the `num_issues` rows with the lowest self-confidence."""
  return _lowest(self_confidence, probs, labels, keep)


FILTERS = {
  f.__name__: f
  for f in (
    prune_by_noise_rate,
    prune_by_class,
    both,
    confident_learning,
    predicted_neq_given,
    low_normalized_margin,
    low_self_confidence,
  )
}


def issues(probs: Array, labels: Array, keep: Array | None = None, kind: str = 'prune_by_noise_rate') -> Array:
  """Returns which labels are probably wrong, bool [N].

  Args:
    probs: float [N, C], out-of-sample: predicted by networks that were not trained on the row.
    labels: int32 [N]; -1 = unlabeled, never flagged.
    keep: bool [N], the rows to use; None: all.
    kind: a name in FILTERS.
  """
  return FILTERS[kind](probs, labels, keep)


# --- scores: (probs [N, C], labels [N]) → float32 [N], 0 bad and 1 good; NaN without a label ------


def self_confidence(probs: Array, labels: Array) -> Array:
  """Returns the probability of each row's label."""
  probs, group = _groups(probs, labels, None)
  return jnp.where(group < probs.shape[1], _own(probs, group), jnp.nan)


def normalized_margin(probs: Array, labels: Array) -> Array:
  """Returns (p_label − max over the other classes + 1) / 2."""
  probs, group = _groups(probs, labels, None)
  others = jnp.where(jnp.arange(probs.shape[1]) == group[:, None], -jnp.inf, probs).max(-1)
  return (self_confidence(probs, labels) - others + 1) / 2


def confidence_weighted_entropy(probs: Array, labels: Array) -> Array:
  """Returns log(1 + h) / h with h = H(p) / (log C · p_label): 1 for a certain label, near 0 for an improbable one.

  Departure from cleanlab, which returns 0 wherever h is 0: if the label itself is certain, the score is the limit, 1.
  """
  probs, _ = _groups(probs, labels, None)
  entropy = -jax.scipy.special.xlogy(probs, probs).sum(-1) / np.log(probs.shape[1])
  own = self_confidence(probs, labels)
  weighted = entropy / jnp.maximum(own, DUST)
  return jnp.where((weighted <= DUST) & (own > 0.5), 1.0, jnp.log1p(weighted) / jnp.maximum(weighted, DUST))


def adjusted_self_confidence(probs: Array, labels: Array, keep: Array | None = None) -> Array:
  """Returns self-confidence after subtracting each class's threshold, so that hard classes do not all score low."""
  limit = thresholds(probs, labels, keep)
  shifted = jnp.asarray(probs, jnp.float32) - limit + limit.max()
  return self_confidence(shifted / shifted.sum(-1, keepdims=True), labels)


SCORES = {
  f.__name__: f for f in (self_confidence, normalized_margin, confidence_weighted_entropy, adjusted_self_confidence)
}


def scores(probs: Array, labels: Array, kind: str = 'self_confidence') -> Array:
  """Returns a score of each label, float32 [N], 0 bad to 1 good.

  Args:
    probs: float [N, C], out-of-sample.
    labels: int32 [N]; rows labeled -1 score NaN.
    kind: a name in SCORES.
  """
  return SCORES[kind](probs, labels)
