"""Streams: every member once a pass, wrap-around, groups in turn, one order for all masks, and one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from noisyjax.engine import walk

ROWS, BATCH, GROUPS = 23, 5, 3
KEY = jax.random.key(3)


def walked(members, steps, key=KEY):
  """All rows of `steps` steps: index, visit and valid, each [..., steps * BATCH]."""
  order = walk.walk(jnp.asarray(members), key, GROUPS)
  parts = [walk.rows(order, jnp.int32(tick), BATCH) for tick in range(steps)]
  return tuple(np.concatenate([np.asarray(p[i]) for p in parts], -1) for i in range(3))


def some(count, seed=0):
  """A mask of `count` of the rows."""
  mask = np.zeros(ROWS, bool)
  mask[np.random.default_rng(seed).permutation(ROWS)[:count]] = True
  return mask


@pytest.mark.parametrize('count', [1, 4, 5, 17, ROWS])
def test_every_member_comes_exactly_once_a_pass_and_nobody_else(count):
  mask = some(count)
  index, visit, valid = walked(mask, 10)
  assert valid.all()
  for turn in range(len(index) // count):
    assert_array_equal(np.sort(index[turn * count : (turn + 1) * count]), np.flatnonzero(mask))
  assert_array_equal(visit, np.arange(len(index)) // count)


def test_a_pass_that_wraps_round_keeps_its_order():
  index, _, _ = walked(some(7), 9)
  assert_array_equal(index[7:14], index[:7])


def test_an_empty_stream_gives_rows_that_are_not_valid():
  index, _, valid = walked(np.zeros(ROWS, bool), 3)
  assert not valid.any()
  assert ((index >= 0) & (index < ROWS)).all()


def test_networks_with_the_same_rows_of_their_own_see_them_in_two_orders():
  first, second = walked(np.ones((2, ROWS), bool), 5)[0][:, :ROWS]
  assert sorted(first) == sorted(second) and (first != second).any()


def test_networks_walk_their_own_rows():
  masks = np.stack([some(6, 1), some(11, 2), np.zeros(ROWS, bool)])
  together = walked(masks, 4)
  for m, mask in enumerate(masks):
    own = jax.random.fold_in(KEY, m) if m else KEY
    for one, alone in zip(together, walked(mask, 4, own), strict=True):
      assert_array_equal(one[m], alone)


def test_groups_take_turns_and_each_covers_its_rows():
  group = np.full(ROWS, -1, np.int32)
  group[[2, 3, 5]], group[[7, 11, 13, 17]] = 0, 2  # group 1 is empty
  index, visit, valid = walked(group, 8)  # 40 places: 20 a group
  assert valid.all()
  assert_array_equal(group[index], np.tile([0, 2], 20))
  zeros, twos = index[::2], index[1::2]
  for turn in range(5):
    assert_array_equal(np.sort(zeros[3 * turn : 3 * turn + 3]), [2, 3, 5])
    assert_array_equal(np.sort(twos[4 * turn : 4 * turn + 4]), [7, 11, 13, 17])
  assert_array_equal(visit[::2], np.arange(20) // 3)
  assert_array_equal(visit[1::2], np.arange(20) // 4)


def test_groups_that_are_all_empty_are_not_valid():
  assert not walked(np.full(ROWS, -1, np.int32), 2)[2].any()


def test_two_masks_see_the_rows_they_share_in_one_order():
  first, second = some(15, 1), some(12, 2)
  both = first & second
  assert both.sum() > 3
  a, b = (walked(mask, 10)[0][: mask.sum()] for mask in (first, second))
  assert_array_equal(a[both[a]], b[both[b]])
  groups = walked(np.where(second, 1, -1).astype(np.int32), 10)[0][: second.sum()]
  assert_array_equal(groups, b)


def test_another_key_gives_another_order():
  assert (walked(some(ROWS), 4)[0] != walked(some(ROWS), 4, jax.random.key(4))[0]).any()


def test_another_mask_compiles_nothing():
  traces = []

  @jax.jit
  def first(members, key):
    traces.append(members.dtype)
    return walk.rows(walk.walk(members, key, GROUPS), jnp.int32(0), BATCH)

  for count in (0, 1, 9, ROWS):
    index, _, valid = first(jnp.asarray(some(count)), KEY)
    assert some(count)[index].all() == (count > 0) == bool(valid.all())
  assert len(traces) == 1
