"""NCR against float64 numpy: neighbours among all rows seen so far, the loss, one step, and the memory it leaves."""

import jax.numpy as jnp
import numpy as np
from golden import (
  DATA,
  GIVEN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  notices,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax.strategies import ncr
from tiny import BATCH, CLASSES, ROWS

T, GAMMA, ALPHA, K = 1.5, 2.0, 0.4, 4
NCR = ncr.Strategy.build(alpha=ALPHA, neighbours=K, temperature=T, power=GAMMA, warmup=3.0)
SEEN = np.arange(ROWS) % 3 > 0  # rows that were seen before; the others are found only once the batch has them


def remembered(seed=3):
  """Features of unit length and predictions of the rows seen before; zeros for the others."""
  rng = np.random.default_rng(seed)
  features = PIXELS + rng.normal(size=PIXELS.shape) / 2
  features /= np.linalg.norm(features, axis=-1, keepdims=True)
  probs = softmax(rng.normal(size=(ROWS, CLASSES)))
  return features * SEEN[:, None], probs * SEEN[:, None]


def neighbours(row, features, probs):
  """q of one row, by sorting all others."""
  near = {j: float(features[row] @ features[j]) for j in range(ROWS) if j != row}
  best = sorted(near, key=near.get, reverse=True)[:K]
  share = {j: max(near[j], 0.0) ** GAMMA for j in best}
  return sum(share[j] * probs[j] for j in best) / sum(share.values())


def check(strategy, epoch=6):
  phase, _, state = entered(strategy, epoch=epoch)
  features, probs = remembered()
  state = state.replace(
    extra={'features': jnp.asarray(features[None], jnp.float32), 'probs': jnp.asarray(probs[None], jnp.float32)}
  )
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  net = state.params['net']
  logits = logits_of(net, PIXELS[index])[0]  # [B, C]
  cooled = softmax(logits / T)
  features[index] = PIXELS[index] / np.linalg.norm(PIXELS[index], axis=-1, keepdims=True)  # pixels are its features
  probs[index] = cooled
  goal = np.stack([neighbours(row, features, probs) for row in index])
  alpha = ALPHA if epoch >= 3 else 0.0
  apart = T**2 * (goal * np.log(goal / cooled)).sum(-1)
  per = (1 - alpha) * cross_entropy(logits, GIVEN[index]) + alpha * apart
  # d/dz of T² KL(q ‖ softmax(z / T)) is T (softmax(z / T) − q).
  error = (1 - alpha) * (softmax(logits) - GIVEN[index]) + alpha * T * (cooled - goal)
  assert_descended(new, *descended(net, PIXELS[index], error[None] / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), per.mean(), rtol=1e-4)
  assert_allclose(new.extra['features'][0], features, rtol=1e-4, atol=1e-6)
  assert_allclose(new.extra['probs'][0], probs, rtol=1e-4, atol=1e-6)


def test_one_step_as_the_reference_takes_it_and_no_other():
  notices(check, NCR)


def test_before_the_warm_up_is_over_it_is_cross_entropy_and_remembers():
  check(NCR, epoch=2)


def test_a_row_is_no_neighbour_of_itself_and_the_dissimilar_do_not_count():
  seen = jnp.array([[1.0, 0], [0.6, 0.8], [-1, 0], [0, 0]])
  probs = jnp.array([[1.0, 0], [0, 1], [0.5, 0.5], [0.9, 0.1]])
  goal, found = ncr.of_neighbours(seen[:3], jnp.arange(3), seen, probs, 2, 1.0)
  assert_allclose(goal, [[0, 1], [1, 0], [0, 0]], atol=1e-6)
  assert_array_equal(found, [True, True, False])  # row 2 has neighbours behind it alone, and row 3 was never seen


def test_more_neighbours_than_rows_are_all_rows():
  seen, probs = jnp.eye(3) * 0.5 + 0.5, jnp.eye(3)
  goal, _ = ncr.of_neighbours(seen, jnp.arange(3), seen, probs, 100, 1.0)
  assert_allclose(goal, (1 - np.eye(3)) / 2, atol=1e-6)


def test_the_first_step_has_the_batch_as_its_neighbours():
  """As in the paper, where the batch is all that there is."""
  phase, _, state = entered(ncr.Strategy.build(warmup=0.0, alpha=1.0, temperature=1.0, neighbours=3), epoch=0)
  assert not np.asarray(state.extra['features']).any()
  new, _ = tiny.advance(phase, state, DATA)
  seen = np.asarray(new.extra['features'][0]).any(-1)
  assert_array_equal(np.flatnonzero(seen), np.sort(rows_of(LABELED)))
