"""What pretrained features say of each image, whatever its label is: neighbours, near duplicates and outliers."""

import numpy as np

from noisyjax.analysis import duplicates, geometry
from noisyjax.data import decode


def columns(
  features: np.ndarray, images: np.ndarray, given: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
  """Returns columns over the rows; what they mean is said in `analysis.columns`.

  Args:
    features: [N, F].
    images: uint8 [N, H, W, C].
    given: int [N]; -1 = unlabeled.
    predicted: int [N], the class of a row without a label.

  Returns:
    knn_agreement: float32 [N]; NaN for unlabeled rows, and where no neighbour is labeled.
    duplicate_group: int32 [N], the first row of the group of near duplicates; -1 = none.
    outlier: float32 [N].
  """
  near, found = geometry.neighbour_columns(features, given, predicted)
  pairs = {'exact': duplicates.exact_pairs(np.array([decode.digest(image) for image in images]))}
  if min(images.shape[1:3]) >= duplicates.SMALLEST:
    pairs['hash'] = duplicates.hash_pairs(duplicates.dhash(images))
  pairs['embedding'] = duplicates.embedding_pairs(*near)
  return {
    'knn_agreement': found['knn_agreement'],
    'duplicate_group': duplicates.grouped(len(images), pairs).group,
    'outlier': found['outlier'],
  }
