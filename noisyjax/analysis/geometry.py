"""The columns that come from embeddings: neighbours, outliers, duplicates, clusters and maps."""

from typing import Any

import numpy as np

from noisyjax.analysis import clusters, duplicates, map2d, neighbours, outliers
from noisyjax.analysis.duplicates import Duplicates

NEIGHBOURS = 10


def neighbour_columns(
  embeddings: np.ndarray, given: np.ndarray, predicted: np.ndarray, trains: np.ndarray | None = None
) -> tuple[neighbours.Neighbours, dict[str, np.ndarray]]:
  """Returns the nearest neighbours by cosine distance, and the columns that they give.

  Args:
    embeddings: [N, F].
    given: int [N]; −1 = unlabeled.
    predicted: int [N], the class of a row without a label.
    trains: bool [N], the training rows, which alone are labeled as neighbours: rules give such labels to training rows,
      and those of validation rows must not reach them. None: all rows.
  """
  found = neighbours.cosine(embeddings, min(NEIGHBOURS, len(embeddings) - 1))
  theirs = given if trains is None else np.where(trains, given, -1)
  majority = neighbours.majority(found.index, theirs)
  return found, {
    'knn_agreement': neighbours.agreement(found.index, theirs, given),
    'knn_predicted': neighbours.agreement(found.index, theirs, predicted),
    'knn_label': np.ma.masked_array(majority, majority < 0),
    'knn_share': neighbours.agreement(found.index, theirs, majority),
    'knn_distance': found.distance.mean(1).astype(np.float32),
    'outlier': outliers.outlier_scores(found.distance, np.where(theirs >= 0, theirs, predicted)),
  }


def duplicate_columns(found: Duplicates, given: np.ndarray, split: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the columns of near duplicates.

  Args:
    found: their groups.
    given: int [N]; −1 = unlabeled.
    split: the split of each row [N].
  """
  alone = found.group < 0
  return {
    'duplicate_group': np.ma.masked_array(found.group, alone),
    'duplicate_kind': np.ma.masked_array(found.kind, alone),
    'duplicate_conflict': duplicates.conflicting(found.group, given),
    'duplicate_crosses': duplicates.crossing(found.group, split),
  }


def cluster_columns(embeddings: np.ndarray, classes: int, seed: int) -> dict[str, np.ndarray]:
  """Returns the clusters by k-means, `clusters.PER_CLASS` for each class, and by HDBSCAN.

  Args:
    embeddings: [N, F].
    classes: number of classes.
    seed: seed of k-means.
  """
  dense = clusters.density(embeddings)
  return {
    'cluster': clusters.kmeans(embeddings, min(clusters.PER_CLASS * classes, len(embeddings)), seed),
    'density_cluster': np.ma.masked_array(dense, dense < 0),
  }


def map_columns(
  embeddings: np.ndarray, kind: str, seed: int, start: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
  """Returns the map by PCA, and one by PaCMAP or LocalMAP if it is asked for; and what made the latter.

  Args:
    embeddings: [N, F].
    kind: a key of `map2d.MAPS`; '' = PCA alone.
    seed: seed of the map.
    start: where its points begin [N, 2], see `map2d.placed`; None: the principal components.
  """
  flat = map2d.pca(embeddings)
  found = {'pca_x': flat[:, 0], 'pca_y': flat[:, 1]}
  if not kind:
    return found, None
  placed, record = map2d.placed(embeddings, kind, seed, start)
  return found | {'map_x': placed[:, 0], 'map_y': placed[:, 1]}, record
