"""Training dynamics of each row over the epochs of a phase: running sums, updated by each step for its rows.

Sources: area under the margin (Pleiss et al. 2020, eq. 1): mean over epochs of the label's logit minus the largest
other logit. Forgetting events (Toneva et al. 2019): a row is predicted correctly at one visit and wrongly at the next.
Mean and standard deviation of the label's probability are the axes of data maps (Swayamdipta et al. 2020).
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from noisyjax.engine import losses


class Dynamics(struct.PyTreeNode):
  """Dynamics per network and row; each array is [M, N]. Sums cover the visits at which the row had a label.

  Attributes:
    visits: int32, number of visits.
    loss: float32, sum of cross-entropy.
    confidence: float32, sum of the probability of the label.
    square: float32, sum of the square of that probability.
    margin: float32, sum of the logit margin.
    correct: int32, number of correct predictions.
    forgotten: int32, number of forgetting events.
    learned: int32, the visit, from 1, of the first correct prediction; 0 before it.
    was_correct: bool, whether the last prediction was correct.
    predicted: int32, class predicted at the last visit; -1 before the first visit.
    chosen: bool, whether the row entered the loss at its visit in this epoch; before that visit, whether the first
      stream has the row.
  """

  visits: Array
  loss: Array
  confidence: Array
  square: Array
  margin: Array
  correct: Array
  forgotten: Array
  learned: Array
  was_correct: Array
  predicted: Array
  chosen: Array


def new(networks: int, rows: int) -> Dynamics:
  """Returns the dynamics of `rows` rows before their first visit."""
  full = lambda value, dtype: jnp.array(jnp.full((networks, rows), value, dtype))
  return Dynamics(
    visits=full(0, jnp.int32),
    loss=full(0, jnp.float32),
    confidence=full(0, jnp.float32),
    square=full(0, jnp.float32),
    margin=full(0, jnp.float32),
    correct=full(0, jnp.int32),
    forgotten=full(0, jnp.int32),
    learned=full(0, jnp.int32),
    was_correct=full(False, bool),
    predicted=full(-1, jnp.int32),
    chosen=full(False, bool),
  )


def margin(logits: Array, label: Array) -> Array:
  """Returns the label's logit minus the largest other logit: logits [..., C], label int [...] → [...]."""
  mine = jax.nn.one_hot(label, logits.shape[-1], dtype=bool)
  own = jnp.where(mine, logits, 0.0).sum(-1)
  return own - jnp.where(mine, -jnp.inf, logits).max(-1)


def record(dynamics: Dynamics, index: Array, first: Array, label: Array, logits: Array, chosen: Array) -> Dynamics:
  """Returns the dynamics after one batch.

  Args:
    dynamics: dynamics before the batch.
    index: int [M, B], row numbers.
    first: bool [M, B], whether this is the row's first visit in the epoch. Other visits are ignored, so that no index
      is written twice.
    label: int [M, B]; -1 = unlabeled.
    logits: [M, B, C].
    chosen: bool [M, B], whether the row entered the loss.
  """
  rows = dynamics.visits.shape[1]
  labeled = label >= 0
  safe = jnp.maximum(label, 0)
  predicted = logits.argmax(-1)
  correct = predicted == label

  def one(
    d: Dynamics,
    index: Array,
    seen: Array,
    count: Array,
    right: Array,
    predicted: Array,
    chosen: Array,
    loss: Array,
    confidence: Array,
    gap: Array,
  ) -> Dynamics:
    at = jnp.where(seen, index, rows)  # an index out of range is dropped
    add = lambda a, v: a.at[at].add(jnp.where(count, v, 0).astype(a.dtype), mode='drop')
    put = lambda a, v: a.at[at].set(v.astype(a.dtype), mode='drop')
    lost = d.was_correct[index] & ~right
    fresh = right & (d.learned[index] == 0)
    return Dynamics(
      visits=add(d.visits, 1),
      loss=add(d.loss, loss),
      confidence=add(d.confidence, confidence),
      square=add(d.square, confidence**2),
      margin=add(d.margin, gap),
      correct=add(d.correct, right),
      forgotten=add(d.forgotten, lost),
      learned=add(d.learned, jnp.where(fresh, d.visits[index] + 1, 0)),
      was_correct=put(d.was_correct, right & count),
      predicted=put(d.predicted, predicted),
      chosen=put(d.chosen, chosen),
    )

  loss = losses.cross_entropy(logits, jax.nn.one_hot(label, logits.shape[-1]))
  return jax.vmap(one)(
    dynamics, index, first, labeled, correct, predicted, chosen, loss, jnp.exp(-loss), margin(logits, safe)
  )
