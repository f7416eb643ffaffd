"""Max pooling against XLA's: values and gradients, also for ties."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads
from numpy.testing import assert_array_equal

from noisyjax.models.layers.pool import max_pool_2x2


def test_pool_has_values_and_gradient_of_the_window_maximum_ties_included():
  images = jnp.round(jax.random.normal(jax.random.key(0), (4, 7, 8, 3)))  # few values: many ties; an odd height
  weight = jax.random.normal(jax.random.key(1), (4, 3, 4, 3))
  window = lambda x: nn.max_pool(x, (2, 2), (2, 2))
  gradient = lambda pool: jax.jit(jax.value_and_grad(lambda x: (pool(x) * weight).sum()))(images)[1]
  assert_array_equal(max_pool_2x2(images), window(images))
  assert_array_equal(gradient(max_pool_2x2), gradient(window))


def test_pool_keeps_a_nan_wherever_it_is():
  images = np.zeros((4, 2, 2, 1), np.float32)
  images.reshape(4, 4)[range(4), range(4)] = np.nan
  assert np.isnan(max_pool_2x2(jnp.asarray(images))).all()


def test_pool_keeps_an_axis_of_one_pixel():
  x = jax.random.normal(jax.random.key(0), (2, 1, 4, 3))
  assert_array_equal(max_pool_2x2(x), jnp.maximum(x[:, :, ::2], x[:, :, 1::2]))


def test_pool_is_differentiable_twice():
  x = jax.random.normal(jax.random.key(0), (2, 5, 4, 2))
  check_grads(lambda x: (max_pool_2x2(jnp.tanh(x)) ** 2).sum(), (x,), order=2, modes=['rev'], atol=0.05, rtol=0.05)
