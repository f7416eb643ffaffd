"""The shared pieces of semi-supervised methods, against numpy and worked values."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.strategies.shared import semi


def test_sharpening():
  p = np.array([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]])
  want = p**2 / (p**2).sum(-1, keepdims=True)
  assert_allclose(semi.sharpen(jnp.asarray(p), 0.5), want, rtol=1e-5, atol=1e-7)
  assert_allclose(semi.sharpen(jnp.asarray(p), 1.0), p, rtol=1e-5, atol=1e-7)


def test_the_ramp_of_dividemix():
  # lambda_u 25, 10 epochs of warm-up, 16 of rise: 0, 1.5625, 12.5, 25 at epochs 10, 11, 18, 26 of the official code.
  assert_allclose(25 * semi.ramp(jnp.array([10.0, 11.0, 18.0, 26.0, 99.0]), 16, 10), [0, 1.5625, 12.5, 25, 25])


def test_without_mixing_or_softness_nothing_is_mixed_or_nan():
  rng = np.random.default_rng(1)
  images, targets, weight = rng.random((2, 8, 2, 2, 1)), rng.random((2, 8, 3)), np.ones((2, 8))
  mixed, soft, _ = semi.mix(jax.random.key(0), 0.0, images, targets, weight)
  assert_allclose(mixed, images, rtol=1e-6)
  assert_allclose(soft, targets, rtol=1e-6)
  assert_allclose(semi.share(jax.random.key(0), jnp.float32(0), (1000,)), 1.0)
  assert_allclose(semi.sharpen(jnp.array([0.2, 0.5, 0.3]), 0.0), [0, 1, 0], atol=1e-6)


def test_mixing_keeps_each_row_the_larger_part_and_never_meets_a_row_of_no_weight():
  rng = np.random.default_rng(0)
  images, targets = rng.random((2, 64, 2, 2, 1)), rng.random((2, 64, 3))
  weight = np.ones((2, 64))
  weight[:, 32:] = 0
  mixed, soft, partner = map(np.asarray, semi.mix(jax.random.key(3), 4.0, images, targets, weight))
  lam = []
  for m in range(2):
    assert sorted(partner[m]) == list(range(64))
    for i, j in enumerate(partner[m]):
      share = (
        1.0 if weight[m, j] == 0 or i == j else ((mixed[m, i] - images[m, j]) / (images[m, i] - images[m, j])).mean()
      )
      assert_allclose(mixed[m, i], share * images[m, i] + (1 - share) * images[m, j], rtol=1e-4, atol=1e-5)
      assert_allclose(soft[m, i], share * targets[m, i] + (1 - share) * targets[m, j], rtol=1e-4, atol=1e-5)
      lam += [share] * bool(weight[m, j] and i != j)
  assert 0.5 <= min(lam) < 0.99 and len(np.unique(np.round(lam, 3))) == 2  # one lambda a network


def test_the_prior_penalty_is_kl_from_uniform_to_the_mean_prediction():
  logits = np.random.default_rng(1).normal(size=(2, 5, 4))
  weight = np.array([1, 1, 0, 1, 1.0])
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  mean = p[:, weight > 0].mean(1)
  assert_allclose(
    semi.prior_penalty(jnp.asarray(logits), jnp.asarray(weight)), (0.25 * np.log(0.25 / mean)).sum(-1), rtol=1e-5
  )
  assert_array_equal(semi.prior_penalty(jnp.asarray(logits), jnp.zeros(5)), 0)


def test_squared_error():
  target = np.array([0.0, 1.0, 0.0])
  logits = np.log([0.7, 0.2, 0.1])
  assert_allclose(semi.squared_error(jnp.asarray(logits), target), (0.49 + 0.64 + 0.01) / 3, rtol=1e-6)


def test_heads_of_their_own_have_momentum():
  tx = semi.paced_sgd()
  first, state = tx.update(1.0, tx.init(1.0))
  assert_allclose([first, tx.update(1.0, state)[0]], [-1.0, -1.9], rtol=1e-6)
