"""Per-row memories [M, N, …] that a loss keeps in `extra` and updates at the rows of a batch."""

import jax
import jax.numpy as jnp
from jax import Array

from noisyjax.engine import placement


def put(memory: Array, index: Array, new: Array, valid: Array) -> Array:
  """Returns the memory with the rows of a batch replaced.

  A stream that is shorter than a batch repeats rows. Then the first occurrence is written, so that the result does not
  depend on the order in which a device scatters.

  Args:
    memory: [M, N, …].
    index: row numbers, int32 [B], or [M, B] if each network has its own rows.
    new: new values [M, B, …].
    valid: [B] or [M, B]; rows with 0 or False are not written. The "weight" of a batch is suitable.
  """
  wide = new.shape[:2]
  rows = memory.shape[1]

  def one(memory: Array, index: Array, new: Array, valid: Array) -> Array:
    index = jnp.where(valid > 0, index, rows)  # an index out of range is dropped
    order = jnp.argsort(index, stable=True)
    ranked = index[order]
    repeated = jnp.zeros(index.shape, bool).at[order[1:]].set(ranked[1:] == ranked[:-1])
    return memory.at[jnp.where(repeated, rows, index)].set(new.astype(memory.dtype), mode='drop')

  each = placement.apart(jax.vmap(one))
  return each(memory, jnp.broadcast_to(index, wide), new, jnp.broadcast_to(valid, wide))


def get(memory: Array, index: Array) -> Array:
  """Returns the memory at the rows of a batch, [M, B, …].

  Args:
    memory: [M, N, …].
    index: row numbers, int32 [B] or [M, B].
  """
  wide = (memory.shape[0], index.shape[-1])
  each = placement.apart(jax.vmap(lambda memory, index: memory[index]))
  return each(memory, jnp.broadcast_to(index, wide))
