"""Maps of embeddings in two dimensions: PCA, and PaCMAP or LocalMAP by the package `pacmap`.

A map is for finding one's way; no score is computed from its distances. Labeled and unlabeled rows are placed together.

PaCMAP: Wang et al. 2021, "Understanding How Dimension Reduction Tools Work". LocalMAP: Wang et al. 2025, "Dimension
Reduction with Locally Adjusted Graphs". The package is imported only when such a map is asked for: it takes seconds.
"""

import hashlib
import logging
from importlib import metadata
from typing import Any

import numpy as np

from noisyjax.system.errors import UserError, check_choice

MAPS = {'pacmap': 'PaCMAP', 'localmap': 'LocalMAP'}  # name → class of the package
NEIGHBOURS = 10


def principal(embeddings: np.ndarray, dimensions: int = 2) -> np.ndarray:
  """Returns the coordinates on the first principal components, float64 [N, d], d = min(dimensions, N, F).

  Computed in float64 from products. Of each component, the entry of largest magnitude is positive, so that the sign
  does not depend on the machine.

  Args:
    embeddings: [N, F].
    dimensions: number of components.
  """
  points = np.asarray(embeddings, np.float64)
  points = points - points.mean(0)
  if points.shape[1] <= len(points):
    _, vectors = np.linalg.eigh(points.T @ points)  # ascending
    vectors = vectors[:, ::-1][:, :dimensions]  # [F, d]
    found = points @ vectors
  else:  # many pixels, few rows: the same from the products of rows
    squares, left = np.linalg.eigh(points @ points.T)
    found = (left * np.sqrt(np.maximum(squares, 0)))[:, ::-1][:, :dimensions]
    vectors = points.T @ found  # up to a positive factor for each
  largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)[0]
  return found * np.where(largest < 0, -1.0, 1.0)


def pca(embeddings: np.ndarray) -> np.ndarray:
  """Returns the map by PCA, float32 [N, 2]."""
  found = principal(embeddings)
  return np.pad(found, ((0, 0), (0, 2 - found.shape[1]))).astype(np.float32)


def placed(
  embeddings: np.ndarray, kind: str, seed: int = 0, start: np.ndarray | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
  """Returns a map by PaCMAP or LocalMAP, and what made it.

  The same embeddings, seed and start give the same map on the same machine with the same package.

  Args:
    embeddings: [N, F].
    kind: a key of MAPS.
    seed: seed of the pairs.
    start: where the points begin, [N, 2], such as the map of an earlier version, so that points stay about where they
      were; NaN where a row was not on it. None: the principal components.

  Returns:
    float32 [N, 2]; and the method, its parameters and package, the seed, and the sha256 of embeddings and start.

  Raises:
    UserError: there is no such map, or the package is not installed.
  """
  check_choice('map', kind, MAPS)
  try:
    import pacmap
  except ImportError as error:
    raise UserError(
      f"map: {kind!r} needs the package pacmap, which cannot be imported ({error}). Run pip install 'noisyjax[map]', "
      'or do without: the map by PCA is always made.'
    ) from None
  logging.getLogger('pacmap').setLevel(logging.ERROR)  # it warns of every seed
  points = np.asarray(embeddings, np.float32)
  options = {'n_neighbors': min(NEIGHBOURS, len(points) - 1), 'MN_ratio': 0.5, 'FP_ratio': 2.0}
  reducer = getattr(pacmap, MAPS[kind])(n_components=2, random_state=seed, verbose=False, **options)
  begin = 'pca' if start is None else beginning(points, start)
  record = {
    'method': kind,
    'package': f'pacmap {metadata.version("pacmap")}',
    'parameters': options,
    'seed': seed,
    'input_sha256': sha256(points),
    'start_sha256': '' if start is None else sha256(np.asarray(start, np.float32)),
  }
  return np.asarray(reducer.fit_transform(points, init=begin), np.float32), record


def beginning(embeddings: np.ndarray, start: np.ndarray) -> np.ndarray:
  """Returns where all points begin, float32 [N, 2].

  Rows that were not on the earlier map begin at the mean of the map's points nearest to them in the embedding.

  Args:
    embeddings: [N, F].
    start: [N, 2], NaN where a row was not on the earlier map.
  """
  start = np.array(start, np.float32)
  known = np.isfinite(start).all(1)
  if not known.any():
    return pca(embeddings)
  if not known.all():
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(3, int(known.sum()))).fit(embeddings[known])
    start[~known] = start[known][near.kneighbors(embeddings[~known], return_distance=False)].mean(1)
  return start


def sha256(array: np.ndarray) -> str:
  """Returns the sha256 (hex) of an array's type, shape and content."""
  array = np.ascontiguousarray(array)
  return hashlib.sha256(f'{array.dtype} {array.shape}'.encode() + array.tobytes()).hexdigest()
