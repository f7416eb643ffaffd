"""Places in an order and within groups, and the groups' sizes and means, with static shapes."""

import jax
import jax.numpy as jnp

Array = jax.Array


def place(key: Array) -> Array:
  """Returns each entry's place, from 0, in ascending order along the last axis; of equals the earlier comes first."""
  return key.argsort(-1).argsort(-1)


def rank(key: Array, group: Array, groups: int) -> Array:
  """Returns each row's place, from 0, among the rows of its group in ascending order of key, int32 [N].

  Args:
    key: [N]; of equals the earlier row comes first. group: int [N] in [0, groups].
  """
  order = jnp.lexsort((key, group))  # stable
  start = jnp.searchsorted(group[order], jnp.arange(groups + 1))
  place = (jnp.arange(len(group)) - start[group[order]]).astype(jnp.int32)
  return jnp.zeros(group.shape, jnp.int32).at[order].set(place)


def sizes(group: Array, rows: Array, groups: int) -> Array:
  """Returns how many of `rows` (bool [N]) each group has, float32 [groups]: group int [N], below 0 = none."""
  # Counted as integers: a float32 that goes up by one stops at 2^24.
  count = jnp.zeros(groups, jnp.int32).at[jnp.where(rows & (group >= 0), group, groups)].add(1, mode='drop')
  return count.astype(jnp.float32)


def means(values: Array, group: Array, groups: int) -> Array:
  """Returns each group's mean of values float32 [N, …], [groups, …], 0 where it has no row.

  Rows are added one by one in float32, which at millions is off by parts in a hundred: they are added in parts, and the
  mean of what is left takes out the rounding, twice.

  Args:
    values: what is averaged. group: int [N] in [0, groups]; `groups` itself is no group.
  """
  parts, width = 32, groups + 1
  cell = jnp.arange(len(group)) // max(1, -(-len(group) // parts)) * width + group

  def total(v):
    return jax.ops.segment_sum(v, cell, parts * width).reshape(parts, width, *v.shape[1:]).sum(0)

  count = jnp.maximum(total(jnp.ones_like(group)), 1).reshape(-1, *(1,) * (values.ndim - 1))
  mean = total(values) / count
  for _ in range(2):
    mean += total(values - mean[group]) / count
  return mean[:groups]
