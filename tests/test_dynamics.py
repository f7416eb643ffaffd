"""Per-row dynamics against a loop in numpy, the worked example of AUM's authors, and what counts as a visit."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.engine import dynamics

NETWORKS, ROWS, BATCH, CLASSES = 2, 9, 5, 3
record = jax.jit(dynamics.record)


def batch(rng):
  """A step's rows: distinct where they count, as a walk gives them; some unlabeled, some not chosen."""
  index = np.stack([rng.permutation(ROWS)[:BATCH] for _ in range(NETWORKS)])
  first = rng.random((NETWORKS, BATCH)) < 0.8
  label = rng.integers(-1, CLASSES, (NETWORKS, BATCH))
  logits = rng.normal(size=(NETWORKS, BATCH, CLASSES)) * 2
  return index, first, label, logits, rng.random((NETWORKS, BATCH)) < 0.5


def test_many_batches_against_a_loop():
  rng = np.random.default_rng(0)
  names = ('visits', 'loss', 'confidence', 'square', 'margin', 'correct', 'forgotten', 'learned')
  want = {name: np.zeros((NETWORKS, ROWS)) for name in names}
  last, predicted, chosen = (np.full((NETWORKS, ROWS), v) for v in (0, -1, 0))
  got = dynamics.new(NETWORKS, ROWS)
  for _ in range(12):
    index, first, label, logits, picked = batch(rng)
    got = record(got, index, first, label, jnp.asarray(logits, jnp.float32), picked)
    for m, b in np.ndindex(NETWORKS, BATCH):
      if not first[m, b]:
        continue
      row, z, y = index[m, b], logits[m, b], label[m, b]
      predicted[m, row], chosen[m, row] = z.argmax(), picked[m, b]
      if y < 0:
        last[m, row] = 0
        continue
      right = int(z.argmax() == y)
      p = np.exp(z[y]) / np.exp(z).sum()
      learned = want['visits'][m, row] + 1 if right and not want['learned'][m, row] else 0
      gains = (1, -np.log(p), p, p * p, z[y] - np.delete(z, y).max(), right, last[m, row] * (1 - right), learned)
      for name, gain in zip(names, gains, strict=True):
        want[name][m, row] += gain
      last[m, row] = right
  for name in names:
    assert_allclose(getattr(got, name), want[name], rtol=1e-4, atol=1e-5, err_msg=name)
  assert_array_equal(got.was_correct, last.astype(bool))
  assert_array_equal(got.predicted, predicted)
  assert_array_equal(got.chosen, chosen.astype(bool))
  assert want['forgotten'].sum() > 2


def one(d, rows, labels, logits, first=None):
  """Records one batch of one network."""
  n = len(rows)
  wide = lambda a, dtype: jnp.asarray(a, dtype)[None]
  first = np.ones(n, bool) if first is None else first
  return record(
    d,
    wide(rows, jnp.int32),
    wide(first, bool),
    wide(labels, jnp.int32),
    wide(logits, jnp.float32),
    jnp.ones((1, n), bool),
  )


def test_area_under_the_margin_as_its_authors_count_it():
  # asappresearch/aum, test/test_aum.py: rows a, b, then b, c.
  d = dynamics.new(1, 3)
  d = one(d, [0, 1], [1, 0], [[1, 2, 3], [6, 5, 4]])
  d = one(d, [1, 2], [2, 1], [[7, 8, 9], [12, 11, 10]])
  assert_array_equal(d.visits[0], [1, 2, 1])
  assert_allclose(d.margin[0] / d.visits[0], [-1, 1, -1])


def test_a_row_that_comes_twice_in_a_batch_counts_once():
  logits = [[0.0, 5.0, 1.0], [9.0, 0.0, 0.0], [0.0, 5.0, 1.0]]
  wrapped = one(dynamics.new(1, 2), [0, 1, 0], [1, 1, 1], logits, [True, True, False])
  alone = one(dynamics.new(1, 2), [0, 1], [1, 1], logits[:2])
  jax.tree.map(assert_array_equal, wrapped, alone)


def test_forgetting_is_right_and_then_wrong():
  right, wrong = [[2.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]
  d = dynamics.new(1, 1)
  for logits in (wrong, right, right, wrong, wrong, right, wrong):
    d = one(d, [0], [0], logits)
  assert (int(d.correct[0, 0]), int(d.forgotten[0, 0]), int(d.visits[0, 0]), int(d.learned[0, 0])) == (3, 2, 7, 2)


def test_margin_of_a_tie_is_zero():
  assert_allclose(dynamics.margin(jnp.array([[3.0, 3.0, 1.0], [1.0, -2.0, 4.0]]), jnp.array([0, 1])), [0.0, -6.0])
