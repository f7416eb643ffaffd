"""Losses per example against float64 numpy, and rows that must not contribute."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.engine import losses

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(2, 5, 3)) * 3  # [M, B, C]
LABEL = np.array([0, 2, 1, 1, 0])


def log_softmax(logits):
  logits = np.asarray(logits, np.float64)
  shifted = logits - logits.max(-1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def test_cross_entropy_of_hard_labels():
  got = losses.cross_entropy(jnp.asarray(LOGITS, jnp.float32), jnp.eye(3)[LABEL])
  assert got.shape == (2, 5)
  assert_allclose(got, -log_softmax(LOGITS)[:, np.arange(5), LABEL], rtol=1e-5)


def test_cross_entropy_of_soft_targets_of_each_network():
  target = RNG.dirichlet(np.ones(3), size=(2, 5))
  got = losses.cross_entropy(jnp.asarray(LOGITS, jnp.float32), jnp.asarray(target, jnp.float32))
  assert_allclose(got, -(target * log_softmax(LOGITS)).sum(-1), rtol=1e-5)


def test_an_unlabeled_row_costs_nothing_and_pulls_at_nothing():
  target = jnp.eye(3)[LABEL].at[1].set(0.0)
  total = lambda logits: losses.cross_entropy(logits, target).sum()
  assert_array_equal(losses.cross_entropy(jnp.asarray(LOGITS, jnp.float32), target)[:, 1], 0.0)
  grad = np.asarray(jax.grad(total)(jnp.asarray(LOGITS, jnp.float32)))
  assert_array_equal(grad[:, 1], 0.0)
  assert (grad[:, 0] != 0).all()


def test_huge_logits_and_impossible_classes_stay_finite():
  logits = jnp.array([[1e4, -1e4, 0.0], [-jnp.inf, 1.0, 2.0]])
  assert_allclose(losses.cross_entropy(logits, jnp.eye(3)[jnp.array([0, 2])]), [0.0, np.log1p(np.exp(-1))], rtol=1e-5)
  assert_allclose(losses.cross_entropy(logits, jnp.eye(3)[jnp.array([1, 1])]), [2e4, 1 + np.log1p(np.exp(-1))], 1e-5)


def test_smoothing_moves_weight_to_all_classes_but_not_to_unlabeled_rows():
  target = jnp.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
  assert_allclose(losses.smooth(target, 0.3), [[0.1, 0.8, 0.1], [0.0, 0.0, 0.0]], rtol=1e-6)
  assert_array_equal(losses.smooth(target, 0.0), target)


def test_weighted_mean_divides_by_the_weights():
  per, weight = RNG.normal(size=(2, 5)), RNG.uniform(0.1, 2, 5)
  want = (per * weight).sum(-1) / weight.sum()
  assert_allclose(losses.weighted_mean(jnp.asarray(per), jnp.asarray(weight)), want, rtol=1e-5)


def test_weighted_mean_of_nothing_is_nothing():
  assert_array_equal(losses.weighted_mean(jnp.ones((2, 5)), jnp.zeros(5)), [0.0, 0.0])
  assert_array_equal(jax.grad(lambda x: losses.weighted_mean(x, jnp.zeros(5)))(jnp.ones(5)), np.zeros(5))


def test_a_row_of_weight_zero_may_be_infinite():
  per = jnp.array([1.0, jnp.inf, 3.0, jnp.nan])
  weight = jnp.array([1.0, 0.0, 1.0, 0.0])
  assert float(losses.weighted_mean(per, weight)) == 2.0
  assert_array_equal(jax.grad(lambda x: losses.weighted_mean(x, weight))(per), [0.5, 0.0, 0.5, 0.0])
