"""Dropout (Srivastava et al. 2014) with inexpensive random numbers.

It works like `nn.Dropout`, but uses 16 random bits per value instead of 32, and unrolls the rounds of Threefry. On CPUs
`jax.random` runs the rounds in a loop whose iterations each pass through memory; this took a third of Model II's
training time. As a consequence `rate` is rounded to a multiple of 2^-16. Kept values are scaled by the rounded rate, so
that the mean is unchanged.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA


class Dropout(nn.Module):
  """During training, sets a random fraction of the values to zero and scales the others up.

  Attributes:
    rate: probability that a value is set to zero, 0 to 1.
    broadcast_dims: axes along which all values are kept or dropped together.
  """

  rate: float
  broadcast_dims: tuple[int, ...] = ()

  @nn.compact
  def __call__(self, x: jax.Array, train: bool) -> jax.Array:
    keep = round((1 - self.rate) * 2**16)
    if not train or keep == 2**16:
      return x
    shape = tuple(
      1 if axis in self.broadcast_dims or axis - x.ndim in self.broadcast_dims else n for axis, n in enumerate(x.shape)
    )
    kept = bits(self.make_rng('dropout'), shape) < keep
    return jnp.where(kept, x * (2**16 / max(keep, 1)), 0)


def bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Returns uniform integers in [0, 2^16) as uint32, from a Threefry key: four from each pair of words."""
  count = math.prod(shape)
  counter = jax.lax.iota(jnp.uint32, -(-count // 4))
  words = jnp.stack(threefry(jax.random.key_data(key), jnp.zeros_like(counter), counter), -1)  # [counters, 2]
  return jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:count].reshape(shape).astype(jnp.uint32)


def threefry(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Encrypts two words, uint32 of one shape, with a key, uint32 [2]: Threefry-2x32, 20 rounds (Salmon et al. 2011)."""
  schedule = key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY)
  x, y = x + schedule[0], y + schedule[1]
  for group in range(5):
    for r in _ROTATIONS[group % 2]:
      x = x + y
      y = x ^ (y << jnp.uint32(r) | y >> jnp.uint32(32 - r))
    x, y = x + schedule[(group + 1) % 3], y + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
  return x, y
