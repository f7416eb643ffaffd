"""Outliers, clusters and maps of embeddings, against NumPy, scikit-learn and planted structure."""

import builtins
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import adjusted_rand_score

from noisyjax.analysis import clusters, geometry, map2d, neighbours
from noisyjax.analysis.outliers import outlier_scores
from noisyjax.system.errors import UserError


def blobs(sizes: tuple[int, ...] = (40, 25, 60), width: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Returns points in well separated directions, and which."""
  rng = np.random.default_rng(seed)
  kind = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
  centers = 5 * np.eye(len(sizes), width)
  return (centers[kind] + 0.3 * rng.normal(size=(len(kind), width))).astype(np.float32), kind


def test_outlier_scores_are_relative_to_the_median_of_the_class():
  distance = np.array([[1.0, 3], [2, 2], [6, 10], [10, 10], [30, 10], [0, 0]])
  labels = np.array([0, 0, 0, 1, 1, -1])
  np.testing.assert_allclose(outlier_scores(distance, labels), [1, 1, 4, 10 / 15, 20 / 15, 1], rtol=1e-6)
  assert outlier_scores(np.array([[0.0], [0], [1]]), np.zeros(3, int)).tolist() == [1, 1, np.inf]


def test_labels_of_rows_that_do_not_train_reach_no_column_of_others():
  points, kind = blobs()
  trains = np.arange(len(kind)) % 3 > 0
  of = lambda given: geometry.neighbour_columns(points, given, kind, trains)[1]
  one, other = of(kind), of(np.where(trains, kind, (kind + 1) % 3))
  assert (one['knn_label'] == kind).all()
  assert (other['knn_agreement'][~trains] == 0).all() and (one['knn_agreement'][~trains] == 1).all()
  for name in one:
    np.testing.assert_array_equal(one[name][trains], other[name][trains])


def test_a_planted_outlier_is_the_first():
  points, kind = blobs()
  points[17] = 5 * np.random.default_rng(3).normal(size=12)
  assert outlier_scores(neighbours.cosine(points, 5).distance, kind).argmax() == 17


def test_clusters_find_planted_groups_and_are_numbered_by_size():
  points, kind = blobs()
  expected = np.array([1, 2, 0])[kind]  # sizes 40, 25, 60
  np.testing.assert_array_equal(clusters.kmeans(points, 3), expected)
  found = clusters.density(points, 10)
  assert (found >= 0).mean() > 0.8
  np.testing.assert_array_equal(found[found >= 0], expected[found >= 0])


def test_kmeans_is_scikit_learns_on_unit_vectors():
  points, _ = blobs(width=40)
  unit = points / np.linalg.norm(points, axis=1, keepdims=True)
  expected = KMeans(3, n_init=4, random_state=0).fit(unit).labels_
  assert adjusted_rand_score(clusters.kmeans(points, 3), expected) == 1


def test_clusters_of_equal_size_are_in_the_order_of_their_rows():
  assert clusters.by_size(np.array([5, -1, 2, 2, 5, 9])).tolist() == [0, -1, 1, 1, 0, 2]
  assert clusters.density(np.ones((4, 3), np.float32)).tolist() == [-1] * 4


def test_principal_components_are_scikit_learns_with_a_fixed_sign():
  points, _ = blobs()
  expected = PCA(4, svd_solver='full').fit(points.astype(np.float64))
  sign = np.sign([row[np.abs(row).argmax()] for row in expected.components_])
  np.testing.assert_allclose(map2d.principal(points, 4), expected.transform(points) * sign, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(map2d.principal(-points, 4), -map2d.principal(points, 4), atol=1e-9)
  wide = np.random.default_rng(1).normal(size=(30, 50))  # more numbers than rows
  full = PCA(3, svd_solver='full').fit(wide)
  sign = np.sign([row[np.abs(row).argmax()] for row in full.components_])
  np.testing.assert_allclose(map2d.principal(wide, 3), full.transform(wide) * sign, rtol=1e-6, atol=1e-6)
  assert map2d.pca(points).dtype == np.float32 and map2d.pca(points[:, :1]).shape == (125, 2)


def test_rows_new_to_a_map_begin_among_their_neighbours():
  points, kind = blobs()
  start = np.array([[0, 0], [9, 0], [0, 9]], np.float32)[kind]
  start[::5] = np.nan
  np.testing.assert_array_equal(map2d.beginning(points, start), np.array([[0, 0], [9, 0], [0, 9]])[kind])
  np.testing.assert_array_equal(map2d.beginning(points, np.full((125, 2), np.nan)), map2d.pca(points))


def test_what_made_a_map_is_recorded_and_the_earlier_map_is_its_start(monkeypatch):
  class PaCMAP:
    def __init__(self, **options):
      self.options = options

    def fit_transform(self, points, init):
      assert self.options['n_components'] == 2 and self.options['random_state'] == 3 and points.dtype == np.float32
      return np.zeros((len(points), 2)) if isinstance(init, str) else init + 1

  points, _ = blobs()
  monkeypatch.setitem(sys.modules, 'pacmap', SimpleNamespace(PaCMAP=PaCMAP))
  monkeypatch.setattr(map2d.metadata, 'version', lambda name: '0.9.1')
  first, record = map2d.placed(points, 'pacmap', 3)
  second, later = map2d.placed(points, 'pacmap', 3, first)
  np.testing.assert_array_equal(second, first + 1)
  assert record['package'] == 'pacmap 0.9.1' and record['seed'] == 3 and record['parameters']['n_neighbors'] == 10
  assert record['input_sha256'] == later['input_sha256'] == map2d.sha256(points)
  assert not record['start_sha256'] and later['start_sha256'] == map2d.sha256(first)


@pytest.mark.slow
@pytest.mark.parametrize('kind', map2d.MAPS)
def test_maps_keep_neighbours_and_are_the_same_twice(kind):
  pytest.importorskip('pacmap')
  points = load_digits().data[:600]
  found, _ = map2d.placed(points, kind)
  assert trustworthiness(points, found) > 0.97 > trustworthiness(points, map2d.pca(points)) + 0.1
  np.testing.assert_array_equal(found, map2d.placed(points, kind)[0])


def test_a_missing_package_is_said_in_one_sentence(monkeypatch):
  real = builtins.__import__

  def absent(name, *arguments, **more):
    if name == 'pacmap':
      raise ImportError('no such package')
    return real(name, *arguments, **more)

  monkeypatch.setattr(builtins, '__import__', absent)
  with pytest.raises(UserError, match=r"pip install 'noisyjax\[map\]'"):
    map2d.placed(blobs()[0], 'pacmap')
  with pytest.raises(UserError, match='localmap, pacmap'):
    map2d.placed(blobs()[0], 'tsne')
