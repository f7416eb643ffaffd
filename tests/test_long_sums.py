"""Sums over more rows than float32 can add one by one, against exact values, at the sizes of large data sets."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from noisyjax.estimate import confident, rank, transition


def test_counts_and_means_go_on_beyond_two_to_the_24():
  rows = 2**24 + 1000
  group = jnp.zeros(rows, jnp.int32)
  assert jax.jit(rank.sizes, static_argnums=2)(group, jnp.ones(rows, bool), 2).tolist() == [rows, 0]
  assert_allclose(jax.jit(rank.means, static_argnums=2)(jnp.full(rows, 0.1), group, 2), [0.1, 0], rtol=1e-6)


@pytest.mark.parametrize('mean', [confident.thresholds, lambda p, y: transition.gold(p, y, 2)[0]])
def test_means_of_many_probabilities_are_float64s(mean):
  probs = np.tile(np.float32([0.1, 0.9]), (4_000_000, 1))
  probs[::3] = [0.3, 0.7]
  found = jax.jit(mean)(probs, jnp.zeros(len(probs), jnp.int32))
  assert_allclose(found[0], probs[:, 0].mean(dtype=np.float64), rtol=1e-5)


def test_batch_statistics_of_large_images_are_float64s():
  """Flax adds up 1.6 million numbers a channel here: XLA does it as a tree, and this notices if it ever does not."""
  x = np.random.default_rng(0).standard_normal((32, 224, 224, 2), np.float32) + 1
  norm = nn.BatchNorm(False, momentum=0.0)
  variables = norm.init(jax.random.key(0), x[:1, :2, :2])
  _, moved = jax.jit(lambda x: norm.apply(variables, x, mutable=['batch_stats']))(x)
  assert_allclose(moved['batch_stats']['mean'], x.mean((0, 1, 2), np.float64), rtol=1e-4)
  assert_allclose(moved['batch_stats']['var'], x.var((0, 1, 2), np.float64), rtol=1e-4)
