"""Exact nearest neighbours of all points among each other, and what the labels of the neighbours say.

Blocked products in float32 find candidates: the k best and SLACK more. Their distances are then computed in float64,
and a bound on the rounding errors of float32 shows whether a point outside the candidates could be nearer. Where it
could (many points at about the same distance), all points within the bound become candidates. The result is therefore
that of float64, for any input; points at equal distances are in the order of their numbers.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from tqdm import tqdm

SLACK = 16  # candidates beyond k
SCORES = 2**24  # scores in a block: 64 MB as float32

Exact = Callable[[np.ndarray, np.ndarray], np.ndarray]  # rows [n], others [n, c] → distances, float64 [n, c]


class Neighbours(NamedTuple):
  """The k nearest neighbours of each point, the nearest first; a point is no neighbour of itself.

  Attributes:
    index: int32 [N, k], numbers of the neighbours; equal distances in the order of the numbers.
    distance: float64 [N, k].
  """

  index: np.ndarray
  distance: np.ndarray


def euclidean(points: np.ndarray, k: int = 10) -> Neighbours:
  """Returns the nearest neighbours by Euclidean distance.

  Args:
    points: finite numbers [N, F].
    k: neighbours of each point, from 1 to N − 1.

  Raises:
    ValueError: `points` or `k` are not as described.
  """
  points = _checked(points, k)
  near = (points - points.mean(0, dtype=np.float64)).astype(np.float32)  # small norms: small rounding errors
  square = np.einsum('nf,nf->n', near, near, dtype=np.float64)

  def exact(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(((points[rows].astype(np.float64)[:, None] - points[others]) ** 2).sum(-1))

  def score(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return (square[rows] - distance**2) / 2

  def size(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return 2 * (np.sqrt(square[rows]) + distance) ** 2  # of x·y and |y|²/2, where y is no further away than that

  return _search(points, near, (square / 2).astype(np.float32), exact, score, size, k)


def cosine(points: np.ndarray, k: int = 10) -> Neighbours:
  """Returns the nearest neighbours by cosine distance, 1 − x·y / (|x| |y|), which is 1 to and from a point 0.

  Args:
    points: finite numbers [N, F].
    k: neighbours of each point, from 1 to N − 1.

  Raises:
    ValueError: `points` or `k` are not as described.
  """
  points = _checked(points, k)
  norm = np.sqrt(np.einsum('nf,nf->n', points, points, dtype=np.float64))
  norm[norm == 0] = 1
  near = (points / norm[:, None]).astype(np.float32)

  def exact(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    product = (points[rows].astype(np.float64)[:, None] * points[others]).sum(-1)
    return np.maximum(1 - product / (norm[rows][:, None] * norm[others]), 0)

  def score(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return 1 - distance

  def size(rows: np.ndarray, distance: np.ndarray) -> np.ndarray:
    return np.full(len(rows), 2.0)

  return _search(points, near, np.zeros(len(near), np.float32), exact, score, size, k)


def _checked(points: np.ndarray, k: int) -> np.ndarray:
  """Returns the points as float32 or float64 [N, F]; raises ValueError unless they are finite and 1 ≤ k < N."""
  points = np.asarray(points)
  points = points if points.dtype == np.float64 else points.astype(np.float32)
  if points.ndim != 2 or not np.isfinite(points).all():
    raise ValueError(f'points: found {points.dtype} {points.shape}; expected finite numbers [N, F].')
  if not 1 <= k < len(points):
    raise ValueError(f'k: found {k}; expected 1 to {len(points) - 1}, as there are {len(points)} points.')
  return points


def _search(
  points: np.ndarray, near: np.ndarray, half: np.ndarray, exact: Exact, score: Exact, size: Exact, k: int
) -> Neighbours:
  """Finds the neighbours with the smallest `exact` distance.

  Args:
    points: float [N, F], to tell equal points.
    near: float32 [N, F].
    half: float32 [N]. near[i] · near[j] − half[j] decreases with the distance of i and j.
    exact: distances of points.
    score: (rows [n], distances [n]) → what near[i] · near[j] − half[j] is at that distance, [n].
    size: (rows [n], distances [n]) → largest |near[i]| |near[j]| + |half[j]| up to that distance, [n].
    k: number of neighbours.
  """
  count, width = near.shape
  block, wide = min(count, max(1, SCORES // count)), min(k + SLACK, count - 1)
  device, halves = jnp.asarray(near), jnp.asarray(half)
  index, distance = np.zeros((count, k), np.int32), np.zeros((count, k))
  known: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}  # of equal points with many candidates

  def crowded(row: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the neighbours of a row among all points whose score is at least `least`."""
    key = points[row].tobytes()
    if key not in known:
      others = np.flatnonzero(near @ near[row] - half >= least)
      far = exact(np.array([row]), others[None])[0]
      best = np.lexsort((others, far))[: k + 1]  # one more: the row itself
      known[key] = others[best], far[best]
    others, far = known[key]
    own = others != row
    return others[own][:k], far[own][:k]

  with tqdm(total=count, desc='neighbours', unit=' rows', disable=None, delay=1) as bar:
    for start in range(0, count, block):
      first = min(start, count - block)  # the last block overlaps the one before: one shape, one compilation
      rows = np.arange(first, first + block)
      scores, others = map(np.asarray, _best(device, halves, first, block, wide))
      far = exact(rows, others)
      order = np.lexsort((others, far))[:, :k]
      index[rows] = np.take_along_axis(others, order, 1)
      distance[rows] = np.take_along_axis(far, order, 1)
      last = distance[rows, -1]
      least = score(rows, last) - (width + 8) * 2.0**-24 * size(rows, last)  # of a point that is as near
      for place in np.flatnonzero((scores[:, -1] >= least) & (wide < count - 1)):
        index[rows[place]], distance[rows[place]] = crowded(int(rows[place]), least[place])
      bar.update(first + block - bar.n)
  return Neighbours(index, distance)


@partial(jax.jit, static_argnames=('block', 'wide'))
def _best(near: Array, half: Array, first: Array, block: int, wide: int) -> tuple[Array, Array]:
  """Returns the best scores of a block of rows, and whose they are, both [block, wide].

  Args:
    near: float32 [N, F].
    half: float32 [N].
    first: first row of the block.
    block: number of rows.
    wide: number of scores of each row.
  """
  rows = jax.lax.dynamic_slice_in_dim(near, first, block)
  scores = jnp.matmul(rows, near.T, precision=jax.lax.Precision.HIGHEST) - half  # [block, N]
  own = first + jnp.arange(block)
  return jax.lax.top_k(jnp.where(jnp.arange(len(near)) == own[:, None], -jnp.inf, scores), wide)


def agreement(index: np.ndarray, labels: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
  """Returns the share of each row's labeled neighbours that have the row's label, float32 [N].

  NaN where the row has no label, or no neighbour has one.

  Args:
    index: int [N, k], numbers of the neighbours.
    labels: int [N]; -1 = unlabeled.
    own: int [N], the labels to compare with, such as predictions; None: `labels`.
  """
  own = labels if own is None else own
  theirs = labels[index]  # [N, k]
  count = (theirs >= 0).sum(1)
  same = (theirs == own[:, None]).sum(1)
  return np.where((count > 0) & (own >= 0), same / np.maximum(count, 1), np.nan).astype(np.float32)


def majority(index: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the most frequent label of each row's neighbours, int32 [N]; -1 where no neighbour is labeled.

  Among equally frequent labels it is that of the nearest neighbour.

  Args:
    index: int [N, k], numbers of the neighbours, the nearest first.
    labels: int [N]; -1 = unlabeled.
  """
  theirs = labels[index]  # [N, k]
  votes = np.where(theirs >= 0, (theirs[:, :, None] == theirs[:, None]).sum(-1), 0)
  return np.take_along_axis(theirs, votes.argmax(1)[:, None], 1)[:, 0].astype(np.int32)
