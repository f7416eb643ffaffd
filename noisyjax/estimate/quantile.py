"""Quantiles of the rows that count, with static shapes."""

import jax
import jax.numpy as jnp

Array = jax.Array


def quantile(values: Array, keep: Array, q: Array | float) -> Array:
  """Returns the q-quantile of the kept rows, linearly interpolated as numpy's; inf where nobody is kept.

  Args:
    values: [N]. keep: bool [N]. q: in [0, 1].
  """
  ranked = jnp.sort(jnp.where(keep, values, jnp.inf))
  last = jnp.maximum(keep.sum() - 1, 0)
  place = q * last
  below = jnp.floor(place).astype(jnp.int32)
  part = place - below
  low, high = ranked[below], ranked[jnp.minimum(below + 1, last)]
  return low + jnp.where(part > 0, part * (high - low), 0.0)  # inf - inf is NaN
