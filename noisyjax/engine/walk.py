"""Walks a changing subset of the rows with static shapes: one permutation an epoch, partitioned by each stream's mask.

A mask that changes from epoch to epoch (a clean/noisy split, a fold, the trusted rows) never recompiles anything, and
two strategies that select different rows see the rows they share in the same order. A short stream that comes round
several times in an epoch keeps its order until the next one, where the loaders of most official code shuffle at every
pass; its rows are augmented anew each time.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array


class Walk(struct.PyTreeNode):
  """One epoch's way through a stream's rows.

  Attributes:
    order: int32 [..., N], members first, group by group. start, size: int32 [..., G], each group's place in `order`.
  """

  order: Array
  start: Array
  size: Array


def _partition(mask: Array, perm: Array) -> Walk:
  """bool [N]: the members of the permutation come first, found by one cumulative sum."""
  member = mask[perm]
  place = jnp.where(member, jnp.cumsum(member) - 1, len(perm))  # non-members are dropped
  order = jnp.zeros_like(perm).at[place].set(perm, mode='drop', unique_indices=False)
  return Walk(order, jnp.zeros(1, jnp.int32), member.sum(dtype=jnp.int32)[None])


def _grouped(group: Array, perm: Array, groups: int) -> Walk:
  """int [N], -1 = out: one stable sort of the permutation by group."""
  key = jnp.where(group[perm] < 0, groups, group[perm])
  size = jnp.bincount(key, length=groups + 1).astype(jnp.int32)
  return Walk(perm[jnp.argsort(key, stable=True)], (jnp.cumsum(size) - size)[:groups], size[:groups])


def walk(members: Array, key: Array, groups: int) -> Walk:
  """Returns this epoch's walk.

  Args:
    members: bool [N] or [M, N], or int groups in [0, groups) with -1 = out; a leading M walks each network's own rows.
    key: the epoch's key. All streams share it, and so one permutation.
    groups: how many groups an int mask may name.
  """
  perm = jax.random.permutation(key, members.shape[-1]).astype(jnp.int32)
  one = (lambda m: _partition(m, perm)) if members.dtype == bool else (lambda m: _grouped(m, perm, groups))
  return one(members) if members.ndim == 1 else jax.vmap(one)(members)


def rows(walk: Walk, tick: Array, batch_size: int) -> tuple[Array, Array, Array]:
  """Returns the rows of one step.

  Args:
    walk: of one stream; a leading M gives each network its own rows.
    tick: int32, steps since the epoch began.
    batch_size: rows a step.
  Returns:
    index: int32 [..., B]. Groups take turns; each wraps round when it is used up.
    visit: int32 [..., B], how often the walk had passed this row before (0 = the first time this epoch).
    valid: bool [..., B], False where the stream has no rows at all (the index is then meaningless).
  """
  if walk.order.ndim > 1:
    return jax.vmap(lambda w: rows(w, tick, batch_size))(walk)
  position = tick * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
  filled = jnp.argsort(walk.size == 0, stable=True)  # groups that have rows, first
  count = jnp.maximum((walk.size > 0).sum(), 1)
  group = filled[position % count]
  turn = position // count
  size = jnp.maximum(walk.size[group], 1)
  index = walk.order[walk.start[group] + turn % size]
  return index, turn // size, jnp.broadcast_to(walk.size.sum() > 0, index.shape)
