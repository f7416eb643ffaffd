"""Further columns of the evidence: neighbours, duplicates and clusters, where a rule of the loop reads them.

They are computed on pretrained features, if the runs train on such, and otherwise on pixels: of the embeddings that a
network learned from the label of a row, the label would reach the evidence about it. Test rows take no part, and
validation rows none by their labels.
"""

from collections.abc import Mapping

import numpy as np

from noisyjax.analysis import clusters, duplicates, neighbours, outliers
from noisyjax.data import features
from noisyjax.data.images import as_images
from noisyjax.loop.ground import Ground
from noisyjax.tables.rows import LABELED, TEST, TRAIN
from noisyjax.tables.versions import Version

NEIGHBOURS = 10
COLUMNS = ('knn_label', 'knn_agreement', 'outlier', 'duplicate_group', 'cluster')


def columns_of(ground: Ground, version: Version, predicted: np.ndarray) -> Mapping[str, np.ndarray]:
  """Returns the columns [N] that the rules of the loop read; -1 or NaN = unknown.

  Args:
    ground: of the loop.
    version: whose labels count.
    predicted: int32 [N], predicted classes, for which outliers among the rows without a label are measured.
  """
  wanted = {
    name for i in range(len(ground.settings.rules)) for r in ground.settings.rules_of(i + 1) for name in r.reads
  }
  if not wanted & set(COLUMNS):
    return {}
  used = np.flatnonzero(version.rows.split != TEST)
  points = _points(ground, used)
  trains = (version.rows.status == LABELED) & (version.rows.split == TRAIN)
  labels = np.where(trains, version.rows.label, -1)[used].astype(np.int32)
  near = (neighbours.cosine if ground.recipe.data.features else neighbours.euclidean)(
    points, min(NEIGHBOURS, len(points) - 1)
  )
  found = {
    'knn_label': lambda: neighbours.majority(near.index, labels),
    'knn_agreement': lambda: neighbours.agreement(near.index, labels),
    'outlier': lambda: outliers.outlier_scores(near.distance, np.where(labels >= 0, labels, predicted[used])),
    'duplicate_group': lambda: _duplicates(version, used, near),
    'cluster': lambda: clusters.kmeans(
      points, min(len(points), clusters.PER_CLASS * len(version.classes)), ground.recipe.data.seed
    ),
  }
  return {name: _spread(make(), used, len(version.rows)) for name, make in found.items() if name in wanted}


def _points(ground: Ground, used: np.ndarray) -> np.ndarray:
  """Returns the features or pixels of the rows, float32 [n, F]."""
  images, row_of, config = as_images(ground.loaded[0].images), ground.row_of, ground.recipe.data
  if config.features:
    found = np.asarray(features.extract(images, features.extractor(config.features, config.views), config.cache))
    return found[row_of[used], 0].reshape(len(used), -1).astype(np.float32)
  return np.asarray(images.take(row_of[used])).reshape(len(used), -1).astype(np.float32)


def _duplicates(version: Version, used: np.ndarray, near: neighbours.Neighbours) -> np.ndarray:
  """Returns the group of near duplicates of each row, int32 [n]; -1 = none."""
  digests = np.array([digest[:64] for digest in version.rows.digest[used]])
  pairs = {
    'exact': duplicates.exact_pairs(digests),
    'embedding': duplicates.embedding_pairs(near.index, near.distance),
  }
  return duplicates.grouped(len(used), pairs).group


def _spread(values: np.ndarray, used: np.ndarray, count: int) -> np.ndarray:
  """Returns values of the used rows as a column of all rows."""
  out = np.full(count, -1 if values.dtype.kind == 'i' else np.nan, values.dtype)
  out[used] = values
  return out
