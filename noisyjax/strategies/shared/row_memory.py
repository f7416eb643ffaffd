"""Per-row memories that a loss keeps in `extra`: one for each network, written at the rows of a batch."""

import jax
import jax.numpy as jnp

Array = jax.Array


def put(memory: Array, index: Array, new: Array, valid: Array) -> Array:
  """Returns the memory with the batch's rows replaced.

  A stream that is shorter than a batch hands out a row more than once; the first of its occurrences is written, so that
  the result does not depend on the order in which a device scatters.

  Args:
    memory: [M, N, …]. index: int32 [B], or [M, B] where networks walk their own rows. new: [M, B, …].
    valid: [B] or [M, B]; where it is 0 or False nothing is written (a batch's "weight" will do).
  """
  wide = new.shape[:2]
  rows = memory.shape[1]

  def one(memory, index, new, valid):
    index = jnp.where(valid > 0, index, rows)  # out of range: dropped
    order = jnp.argsort(index, stable=True)
    ranked = index[order]
    again = jnp.zeros(index.shape, bool).at[order[1:]].set(ranked[1:] == ranked[:-1])
    return memory.at[jnp.where(again, rows, index)].set(new.astype(memory.dtype), mode='drop')

  return jax.vmap(one)(memory, jnp.broadcast_to(index, wide), new, jnp.broadcast_to(valid, wide))


def get(memory: Array, index: Array) -> Array:
  """Returns the memory at the batch's rows: memory [M, N, …], index [B] or [M, B] → [M, B, …]."""
  wide = (memory.shape[0], index.shape[-1])
  return jax.vmap(lambda memory, index: memory[index])(memory, jnp.broadcast_to(index, wide))
