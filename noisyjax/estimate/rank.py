"""Places in an order and within groups, and the groups' sizes, with static shapes."""

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
  return jnp.zeros(groups).at[jnp.where(rows & (group >= 0), group, groups)].add(1.0, mode='drop')
