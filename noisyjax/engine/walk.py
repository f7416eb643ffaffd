"""Walks: the order in which an epoch visits the rows of a stream, with static shapes for changing subsets of rows.

Each epoch has one permutation of all rows, which the mask of each stream partitions. Masks may therefore change from
epoch to epoch (a clean/noisy split, a fold, the trusted rows) without a recompilation, and strategies that select
different rows see their common rows in the same order. Where each network has its own rows, each has its own
permutation, too, as with the data loaders of the official implementations.

A stream that is shorter than the epoch is repeated in the same order, with new augmentations at each visit. The data
loaders of most official implementations shuffle at each repetition.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


class Walk(struct.PyTreeNode):
  """The order of a stream's rows in one epoch.

  Attributes:
    order: int32 [..., N], row numbers; members come first, group by group.
    start: int32 [..., G], index in `order` of each group's first row.
    size: int32 [..., G], number of rows in each group.
  """

  order: Array
  start: Array
  size: Array


def _partition(mask: Array, perm: Array) -> Walk:
  """Returns the walk of a bool mask [N] as one group; a cumulative sum is cheaper than a sort."""
  member = mask[perm]
  place = jnp.where(member, jnp.cumsum(member) - 1, len(perm))  # non-members are dropped
  order = jnp.zeros_like(perm).at[place].set(perm, mode='drop', unique_indices=False)
  return Walk(order, jnp.zeros(1, jnp.int32), member.sum(dtype=jnp.int32)[None])


def _grouped(group: Array, perm: Array, groups: int) -> Walk:
  """Returns the walk of groups, int [N] with -1 = not a member, by one stable sort of the permutation."""
  key = jnp.where(group[perm] < 0, groups, group[perm])
  size = jnp.bincount(key, length=groups + 1).astype(jnp.int32)
  return Walk(perm[jnp.argsort(key, stable=True)], (jnp.cumsum(size) - size)[:groups], size[:groups])


def own_keys(key: Array, networks: int) -> Array:
  """Returns one key for each network, [networks]; the first network's is `key` itself."""
  return jnp.stack([key, *(jax.random.fold_in(key, m) for m in range(1, networks))])


def walk(members: Array, key: Array, groups: int) -> Walk:
  """Returns the walk of a stream in one epoch.

  Args:
    members: bool [N], the members; or int [N], groups from 0 to `groups` − 1 with -1 = not a member. With a leading M,
      each network has its own rows and its own permutation.
    key: key of the epoch. All streams use the same key, and therefore the same permutations.
    groups: maximum number of groups.
  """

  def one(members: Array, key: Array) -> Walk:
    perm = jax.random.permutation(key, members.shape[-1]).astype(jnp.int32)
    return _partition(members, perm) if members.dtype == bool else _grouped(members, perm, groups)

  return one(members, key) if members.ndim == 1 else jax.vmap(one)(members, own_keys(key, len(members)))


def rows(walk: Walk, tick: Array, batch_size: int) -> tuple[Array, Array, Array]:
  """Returns the rows of one step.

  Args:
    walk: walk of the stream; with a leading M, each network has its own rows.
    tick: int32, number of earlier steps in the epoch.
    batch_size: rows per step.

  Returns:
    index: int32 [..., B], row numbers. Groups alternate; a group whose rows are used up starts again.
    visit: int32 [..., B], number of earlier visits to the row in this epoch.
    valid: bool [..., B], False if the stream has no rows, in which case `index` is meaningless.
  """
  if walk.order.ndim > 1:
    return jax.vmap(lambda w: rows(w, tick, batch_size))(walk)
  position = tick * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  filled = jnp.argsort(walk.size == 0, stable=True)  # groups with rows come first
  count = jnp.maximum((walk.size > 0).sum(), 1)
  group = filled[position % count]
  turn = position // count
  size = jnp.maximum(walk.size[group], 1)
  index = walk.order[walk.start[group] + turn % size]
  return index, turn // size, jnp.broadcast_to(walk.size.sum() > 0, index.shape)
