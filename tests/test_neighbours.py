"""Nearest neighbours equal scikit-learn's, also where many points are equally far; agreement of labels."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from noisyjax.analysis import neighbours

FINDERS = {'euclidean': neighbours.euclidean, 'cosine': neighbours.cosine}


def oracle(points: np.ndarray, k: int, metric: str) -> np.ndarray:
  """Returns scikit-learn's distances to the k nearest others [N, k], in float64."""
  found = NearestNeighbors(n_neighbors=k, metric=metric, algorithm='brute').fit(points.astype(np.float64))
  return found.kneighbors()[0]


def brute(points: np.ndarray, k: int) -> np.ndarray:
  """Returns the k nearest others by squared Euclidean distance in integers, ties by number [N, k]."""
  points = points.astype(np.int64)
  square = ((points[:, None] - points) ** 2).sum(-1)
  np.fill_diagonal(square, np.iinfo(np.int64).max)
  return square.argsort(1, kind='stable')[:, :k]


@pytest.mark.parametrize('metric', FINDERS)
@pytest.mark.parametrize('shift', [0.0, 1000.0])
def test_equal_to_scikit_learn(metric, shift, monkeypatch):
  monkeypatch.setattr(neighbours, 'SCORES', 5000)  # blocks of 16 rows
  points = (np.random.default_rng(0).normal(size=(301, 24)) + shift).astype(np.float32)
  found = FINDERS[metric](points, 7)
  np.testing.assert_allclose(found.distance, oracle(points, 7, metric), rtol=1e-5, atol=1e-12)
  for row, (index, distance) in enumerate(zip(*found)):
    assert row not in index and len(set(index.tolist())) == 7
    assert (np.diff(distance) >= 0).all()
  expected = NearestNeighbors(n_neighbors=7, metric=metric, algorithm='brute').fit(points.astype(np.float64))
  if metric == 'euclidean' or not shift:  # far from 0 the angles are below what float64 products tell apart
    np.testing.assert_array_equal(found.index, expected.kneighbors()[1])


@pytest.mark.parametrize('levels, width', [(2, 6), (3, 2), (1, 4)])
def test_equal_distances_are_in_the_order_of_the_numbers(levels, width):
  points = np.random.default_rng(levels).integers(0, levels, (400, width))  # all 400 are equal with one level
  found = neighbours.euclidean(points, 9)
  np.testing.assert_array_equal(found.index, brute(points, 9))
  np.testing.assert_allclose(found.distance, oracle(points, 9, 'euclidean'), atol=1e-7)


def test_points_closer_than_float32_tells_apart():
  rng = np.random.default_rng(1)
  points = 100 * rng.normal(size=(1, 64)) + 1e-7 * rng.normal(size=(300, 64))
  points[0] += 1e6  # one outlier must not hide the others
  found = neighbours.euclidean(points, 5)
  difference = points[:, None] - points
  exact = np.sqrt((difference**2).sum(-1))
  np.fill_diagonal(exact, np.inf)
  np.testing.assert_array_equal(found.index, exact.argsort(1, kind='stable')[:, :5])


def test_a_point_0_is_at_cosine_distance_1():
  points = np.array([[1.0, 0], [0, 0], [0, 0], [2, 0], [-1, 0]])
  found = neighbours.cosine(points, 4)
  np.testing.assert_array_equal(found.index, [[3, 1, 2, 4], [0, 2, 3, 4], [0, 1, 3, 4], [0, 1, 2, 4], [1, 2, 0, 3]])
  np.testing.assert_array_equal(found.distance[0], [0, 1, 1, 2])


@pytest.mark.parametrize('k', [0, 3])
def test_k_is_checked(k):
  with pytest.raises(ValueError, match='expected 1 to 2'):
    neighbours.cosine(np.eye(3), k)


def test_points_must_be_finite():
  with pytest.raises(ValueError, match='finite'):
    neighbours.euclidean(np.array([[1.0], [np.nan]]), 1)


def test_agreement_counts_labeled_neighbours_alone():
  index = np.array([[1, 2], [0, 2], [3, 4], [4, 2], [3, 2]])
  labels = np.array([0, 0, 1, -1, -1])
  np.testing.assert_array_equal(neighbours.agreement(index, labels), [0.5, 0.5, np.nan, np.nan, np.nan])
  np.testing.assert_array_equal(
    neighbours.agreement(index, labels, np.array([1, 0, 1, 1, 0])), [0.5, 0.5, np.nan, 1, 0]
  )


def test_majority_prefers_the_nearest_of_equals():
  index = np.array([[1, 2, 3], [2, 0, 3], [3, 1, 0], [0, 1, 2]])
  labels = np.array([0, 1, 1, -1])
  np.testing.assert_array_equal(neighbours.majority(index, labels), [1, 1, 1, 1])
  np.testing.assert_array_equal(neighbours.majority(np.array([[3], [0], [3], [2]]), labels), [-1, 0, -1, 1])
