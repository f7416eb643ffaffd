"""Dropout and its random numbers: published values of Threefry, rates, means, and values dropped together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32

from noisyjax.models.layers.dropout import Dropout, bits, threefry

ONES = 0xFFFFFFFF


@pytest.mark.parametrize(
  'key, words, expected',  # Random123's known answers
  [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
  ],
)
def test_threefry_gives_the_published_values(key, words, expected):
  found = threefry(jnp.asarray(key, jnp.uint32), *(jnp.asarray([w], jnp.uint32) for w in words))
  assert [int(a[0]) for a in found] == list(expected)


def test_threefry_is_jaxs():
  key, count = jax.random.key_data(jax.random.key(7)), jnp.arange(1000, dtype=jnp.uint32)
  np.testing.assert_array_equal(jnp.concatenate(threefry(key, count[:500], count[500:])), threefry_2x32(key, count))


@pytest.mark.parametrize('shape', [(), (1,), (5,), (3, 7, 11), (2, 0)])
def test_bits_have_the_shape_asked_for(shape):
  assert bits(jax.random.key(0), shape).shape == shape


def test_bits_are_uniform_and_of_the_key():
  found = np.asarray(bits(jax.random.key(1), (1 << 18,)))
  assert found.min() >= 0 and found.max() < 2**16
  for byte in (found >> 8, found & 255):
    counts = np.bincount(byte, minlength=256)
    assert ((counts - 1024) ** 2 / 1024).sum() < 256 + 4 * np.sqrt(2 * 256)  # chi squared
  ranks = np.corrcoef(found[:-1], found[1:])[0, 1]
  assert abs(ranks) < 4 / np.sqrt(len(found))
  assert (found == np.asarray(bits(jax.random.key(2), (1 << 18,)))).mean() < 1e-4


def drop(rate, x, train=True, **fields):
  return Dropout(rate, **fields).apply({}, x, train, rngs={'dropout': jax.random.key(3)})


@pytest.mark.parametrize('rate', [0.1, 0.5, 0.8])
def test_the_rate_is_dropped_and_the_mean_stays(rate):
  y = np.asarray(drop(rate, jnp.ones((64, 32, 32))), np.float64)
  error = np.sqrt(rate * (1 - rate) / y.size)
  assert abs((y == 0).mean() - rate) < 4 * error
  kept = np.unique(y[y > 0])
  assert len(kept) == 1 and kept[0] == pytest.approx(1 / (1 - rate), rel=1e-4)
  assert abs(y.mean() - 1) < 4 * error / (1 - rate)


def test_all_or_nothing():
  x = jnp.arange(12.0).reshape(3, 4)
  np.testing.assert_array_equal(drop(0.0, x), x)
  np.testing.assert_array_equal(drop(0.5, x, train=False), x)
  np.testing.assert_array_equal(drop(1.0, x), jnp.zeros_like(x))


@pytest.mark.parametrize('dims', [(1, 2), (-3, -2)])
def test_channels_share_a_fate(dims):
  y = np.asarray(drop(0.5, jnp.ones((20, 3, 3, 16)), broadcast_dims=dims))
  assert (y == y[:, :1, :1]).all()
  assert 0.3 < (y[:, 0, 0] == 0).mean() < 0.7


def test_mapped_networks_drop_as_single_ones():
  keys, x = jax.random.split(jax.random.key(0), 3), jnp.ones((4, 5))
  one = lambda key: Dropout(0.5).apply({}, x, True, rngs={'dropout': key})
  np.testing.assert_array_equal(jax.vmap(one)(keys), jnp.stack([one(key) for key in keys]))
