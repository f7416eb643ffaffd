"""Counts of label pairs, their shares and confusions, and moments of pixels: NumPy, JAX and a loop agree."""

import jax
import numpy as np

from noisyjax.data import moments
from noisyjax.estimate.pairs import confusions, count_pairs, shares


def test_pairs_are_counted_alike_by_numpy_by_jax_and_within_jit():
  rng = np.random.default_rng(0)
  rows, columns = rng.integers(-1, 4, (2, 300)).astype(np.int32)
  expected = np.zeros((4, 4), int)
  for i, j in zip(rows, columns):
    if i >= 0 and j >= 0:
      expected[i, j] += 1
  np.testing.assert_array_equal(count_pairs(rows, columns, 4), expected)
  on_device = count_pairs(jax.numpy.asarray(rows), columns, 4)
  np.testing.assert_array_equal(on_device, expected)
  assert on_device.dtype == np.int32
  np.testing.assert_array_equal(jax.jit(count_pairs, static_argnums=2)(rows, columns, 4), expected)


def test_moments_are_those_of_all_pixels_or_of_the_rows(monkeypatch):
  monkeypatch.setattr('noisyjax.data.images.CHUNK', 3)
  images = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), dtype=np.uint8)
  for rows in (None, np.array([0, 4, 6, 2])):
    mean, variance = moments.moments(images, rows)
    pixels = (images if rows is None else images[rows]).reshape(-1, 3).astype(float)
    np.testing.assert_allclose(mean, pixels.mean(0))
    np.testing.assert_allclose(variance, pixels.var(0))


def test_shares_are_of_rows_and_the_largest_confusions_come_first():
  counts = np.array([[5, 1, 4], [0, 0, 0], [0, 4, 4]])
  np.testing.assert_allclose(shares(counts), [[0.5, 0.1, 0.4], [0, 0, 0], [0, 0.5, 0.5]])
  assert confusions(counts, 9) == [(0, 2, 4), (2, 1, 4), (0, 1, 1)]  # of equal ones the first
  assert confusions(counts, 1) == [(0, 2, 4)] and counts[0, 0] == 5
