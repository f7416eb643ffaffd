"""Clusters of embeddings by scikit-learn: k-means, and HDBSCAN for clusters of any number and shape.

Both see the directions of the embeddings only (unit vectors, as cosine distance does), reduced to DIMENSIONS principal
components, in which distances are nearly those of all dimensions. Clusters are numbered by size, the largest is 0.
"""

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans

from noisyjax.analysis.map2d import principal

DIMENSIONS = 32
PER_CLASS = 3  # clusters by k-means for each class, since a class often has several looks


def kmeans(embeddings: np.ndarray, clusters: int, seed: int = 0) -> np.ndarray:
  """Returns the cluster of each row by k-means, int32 [N].

  Args:
    embeddings: [N, F].
    clusters: number of clusters, at most N.
    seed: seed of the first centers.
  """
  found = KMeans(clusters, n_init=4, random_state=seed).fit(_reduced(embeddings))
  return by_size(found.labels_)


def density(embeddings: np.ndarray, smallest: int = 0) -> np.ndarray:
  """Returns the cluster of each row by HDBSCAN, int32 [N]; −1 = in no cluster.

  Args:
    embeddings: [N, F].
    smallest: least rows of a cluster; 0: a hundredth of the rows, from 5 to 100.
  """
  smallest = smallest or min(max(5, len(embeddings) // 100), 100)
  if len(embeddings) <= smallest:
    return np.full(len(embeddings), -1, np.int32)
  return by_size(HDBSCAN(min_cluster_size=smallest, min_samples=5, copy=True).fit(_reduced(embeddings)).labels_)


def by_size(labels: np.ndarray) -> np.ndarray:
  """Returns clusters renumbered by size, int32 [N]: the largest is 0, of equals the one whose first row comes first.

  Args:
    labels: int [N]; negative = in no cluster, returned as −1.
  """
  kinds, first, group, count = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
  order = np.lexsort((first, -count))
  order = order[kinds[order] >= 0]
  number = np.full(len(kinds), -1, np.int32)
  number[order] = np.arange(len(order))
  return number[group]


def _reduced(embeddings: np.ndarray) -> np.ndarray:
  """Returns the first principal components of the unit vectors, float64 [N, d] with d at most DIMENSIONS."""
  norm = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
  return principal(embeddings / np.where(norm > 0, norm, 1), DIMENSIONS)
