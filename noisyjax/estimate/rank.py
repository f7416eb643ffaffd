"""Ranks of entries, overall and within groups, and sizes and means of groups, with static shapes."""

import jax
import jax.numpy as jnp
from jax import Array


def place(key: Array) -> Array:
  """Returns each entry's rank, from 0, in ascending order along the last axis; ties keep their order."""
  return key.argsort(-1).argsort(-1)


def rank(key: Array, group: Array, groups: int) -> Array:
  """Returns each row's rank, from 0, within its group in ascending order of key, int32 [N].

  Args:
    key: [N]; rows of equal key keep their order.
    group: int [N] in [0, groups].
    groups: the largest group number.
  """
  order = jnp.lexsort((key, group))  # stable
  start = jnp.searchsorted(group[order], jnp.arange(groups + 1))
  place = (jnp.arange(len(group)) - start[group[order]]).astype(jnp.int32)
  return jnp.zeros(group.shape, jnp.int32).at[order].set(place)


def sizes(group: Array, rows: Array, groups: int) -> Array:
  """Returns the number of rows in each group, float32 [groups].

  Args:
    group: int [N]; a row with a number below 0 is in no group.
    rows: bool [N], the rows to count.
    groups: number of groups.
  """
  # Counted as integers, because a float32 that is incremented by 1 stops at 2^24.
  count = jnp.zeros(groups, jnp.int32).at[jnp.where(rows & (group >= 0), group, groups)].add(1, mode='drop')
  return count.astype(jnp.float32)


def means(values: Array, group: Array, groups: int) -> Array:
  """Returns the mean of the values in each group, [groups, …]; 0 for an empty group.

  Adding millions of float32 values one by one gives errors of several percent. Therefore the sum is split into 32
  parts, and the mean of the residuals is added to the mean, twice.

  Args:
    values: float32 [N, …].
    group: int [N] in [0, groups]; rows with number `groups` are ignored.
    groups: number of groups.
  """
  parts, width = 32, groups + 1
  cell = jnp.arange(len(group)) // max(1, -(-len(group) // parts)) * width + group

  def total(v: Array) -> Array:
    return jax.ops.segment_sum(v, cell, parts * width).reshape(parts, width, *v.shape[1:]).sum(0)

  count = jnp.maximum(total(jnp.ones_like(group)), 1).reshape(-1, *(1,) * (values.ndim - 1))
  mean = total(values) / count
  for _ in range(2):
    mean += total(values - mean[group]) / count
  return mean[:groups]
