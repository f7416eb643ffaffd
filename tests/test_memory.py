"""Per-row memories: each row of each network is written once, and nothing else changes."""

import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal

from noisyjax.strategies.shared import row_memory


def test_a_row_is_written_once_and_by_its_first_occurrence():
  old = jnp.zeros((2, 5, 2))
  index = jnp.array([3, 0, 3, 1])
  new = jnp.arange(16.0).reshape(2, 4, 2) + 1
  got = np.asarray(row_memory.put(old, index, new, jnp.array([1.0, 1.0, 1.0, 0.0])))
  assert_array_equal(got[:, 3], new[:, 0])
  assert_array_equal(got[:, 0], new[:, 1])
  assert_array_equal(got[:, [1, 2, 4]], 0)


def test_networks_write_their_own_rows_and_an_invalid_first_does_not_hide_a_second():
  old = jnp.zeros((2, 3), jnp.int32)
  index = jnp.array([[0, 0, 2], [1, 2, 1]])
  got = row_memory.put(
    old, index, jnp.array([[7, 8, 9], [4, 5, 6]]), jnp.array([[False, True, True], [True, True, True]])
  )
  assert_array_equal(got, [[8, 0, 9], [0, 4, 5]])
  assert got.dtype == jnp.int32
  assert_array_equal(row_memory.get(got, index), [[8, 8, 9], [4, 5, 4]])
  assert_array_equal(row_memory.get(got, jnp.array([2])), [[9], [5]])
