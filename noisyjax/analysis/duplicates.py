"""Near duplicates: images that are equal, look equal, or have nearly equal embeddings, and the groups that they form.

Three signals give pairs of rows, and rows that pairs connect are one group:

exact       the same decoded pixels.
hash        64-bit difference hashes (dHash) of gray 9 x 8 copies that differ in few bits: the same picture at another
            size, compression or brightness.
embedding   neighbours much closer than the k-th neighbour of either: another cut or shot of the same thing. The measure
            is local, since classes differ in density. It wants features from other data: a network that learned the
            labels of these rows draws different images of a class together.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from noisyjax.data import decode
from noisyjax.data.images import Images, chunks
from noisyjax.system.log import log

RADIUS = 2  # bits
SMALLEST = 24  # pixels; gray copies of smaller images hold too little to tell them apart
CLOSE = 0.05  # of the distance to the k-th neighbour
FOLDED = 32  # pixels; of smaller images, only exact copies must share a fold
CROWD = 0.1  # of all rows: hashes that put more than these into one group do not tell the images apart


class Duplicates(NamedTuple):
  """The groups of near duplicates.

  Attributes:
    group: int32 [N], the first row of each row's group; −1 = the row has no duplicate.
    kind: str [N], the closest kind of duplicate that the row has, by the order of the kinds; '' = none.
  """

  group: np.ndarray
  kind: np.ndarray

  def together(self) -> np.ndarray:
    """Returns numbers that are equal for the rows of a group and different otherwise, int32 [N]."""
    return np.where(self.group >= 0, self.group, np.arange(len(self.group), dtype=np.int32))


def grouped(count: int, pairs: Mapping[str, np.ndarray]) -> Duplicates:
  """Returns the groups that pairs form.

  Args:
    count: number of rows.
    pairs: kind → rows of its pairs, int [P, 2]; the closest kind first.
  """
  rows = np.concatenate([np.zeros((0, 2), np.int64), *pairs.values()])
  graph = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), (count, count))
  _, label = connected_components(graph, directed=False)
  _, first, group, size = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
  kind = np.full(count, '', f'U{max(map(len, pairs), default=1)}')
  for name, own in reversed(list(pairs.items())):
    kind[own.reshape(-1)] = name
  return Duplicates(np.where(size > 1, first, -1)[group].astype(np.int32), kind)


def alike(images: Images, digests: np.ndarray) -> np.ndarray:
  """Returns numbers that are equal for rows that must share a fold, int32 [N].

  These are exact copies and, among images of FOLDED pixels or more, those that look equal by their hashes.

  Args:
    images: N images.
    digests: str [N], of decoded pixels.
  """
  count, exact = len(digests), exact_pairs(digests)
  copies = grouped(count, {'exact': exact}).together()
  if min(images.shape[1:3]) < FOLDED:
    return copies
  found = grouped(
    count, {'exact': exact, 'hash': hash_pairs(dhash(image for chunk in chunks(images) for image in chunk))}
  )
  largest = int(np.unique(found.together(), return_counts=True)[1].max(initial=0))
  if largest > max(CROWD * count, 2):
    log.info(
      '%d of %d images have nearly equal hashes, which do not tell them apart: only exact copies share a fold.',
      largest,
      count,
    )
    return copies
  return found.together()


def exact_pairs(digests: np.ndarray) -> np.ndarray:
  """Returns each row with an equal digest and the first such row, int64 [P, 2].

  Args:
    digests: str [N], of decoded pixels.
  """
  _, first, same = np.unique(digests, return_index=True, return_inverse=True)
  pairs = np.stack([first[same], np.arange(len(digests))], 1)
  return pairs[pairs[:, 0] != pairs[:, 1]]


def hash_pairs(hashes: np.ndarray, radius: int = RADIUS) -> np.ndarray:
  """Returns the pairs of different rows whose hashes differ in at most `radius` bits, int64 [P, 2].

  Of equal hashes it pairs the first with each other, which connects the same rows.

  Args:
    hashes: uint64 [N].
    radius: number of bits.
  """
  different, first = np.unique(hashes, return_index=True)
  return np.concatenate([exact_pairs(hashes), first[_near(different, radius)]])


def _near(hashes: np.ndarray, radius: int) -> np.ndarray:
  """Returns the pairs of hashes that differ in at most `radius` bits, int64 [P, 2], each once.

  If the 64 bits are cut into `radius` + 2 parts, such hashes agree in two parts at least. So for any two parts, only
  hashes that agree in both are compared.

  Args:
    hashes: uint64 [N], all different.
    radius: number of bits.
  """
  found = [np.zeros((0, 2), np.int64)]
  parts = [sum(1 << int(bit) for bit in bits) for bits in np.array_split(np.arange(64), radius + 2)]
  for one, two in itertools.combinations(parts, 2):
    key = hashes & np.uint64(one | two)
    order = np.argsort(key, kind='stable')
    end = np.searchsorted(key[order], key[order], side='right')  # [N], of the hashes of the same key
    left, step = np.arange(len(hashes)), 1
    while len(left := left[left + step < end[left]]):
      pairs = np.stack([order[left], order[left + step]], 1)
      bits = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
      found.append(pairs[bits <= radius])
      step += 1
  return np.unique(np.concatenate(found), axis=0)


def embedding_pairs(index: np.ndarray, distance: np.ndarray, close: float = CLOSE) -> np.ndarray:
  """Returns the pairs of neighbours much closer than others nearby, int64 [P, 2].

  Args:
    index: int [N, k], neighbours of each row, the nearest first.
    distance: their distances [N, k].
    close: pairs are closer than this fraction of the distance to the k-th neighbour, of both rows.
  """
  far = distance[:, -1]
  rows, places = np.nonzero(distance < close * np.minimum(far[:, None], far[index]))
  return np.stack([rows, index[rows, places].astype(np.int64)], 1)


def dhash(images: Iterable[np.ndarray]) -> np.ndarray:
  """Returns the 64-bit difference hash of each image, uint64 [N].

  A bit says whether a pixel of the gray copy of 9 x 8 pixels is darker than its right neighbour.

  Args:
    images: images, uint8 [H, W, C] with C = 1 or 3.
  """
  return np.array([_dhash(image) for image in images], np.uint64)


def _dhash(image: np.ndarray) -> int:
  picture = decode.picture(image).convert('L')
  gray = np.asarray(picture.resize((9, 8), Image.Resampling.BOX if min(picture.size) >= 9 else None), np.uint8)
  return int.from_bytes(np.packbits(gray[:, :-1] < gray[:, 1:]).tobytes(), 'big')


def conflicting(group: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns whether each row's group has rows with different labels, bool [N]; unlabeled rows count for nothing.

  Args:
    group: int [N]; −1 = no group.
    labels: int [N]; −1 = unlabeled.
  """
  return _differ(group, labels, labels >= 0)


def crossing(group: np.ndarray, split: np.ndarray) -> np.ndarray:
  """Returns whether each row's group has rows of different splits, bool [N].

  Args:
    group: int [N]; −1 = no group.
    split: the split of each row [N].
  """
  return _differ(group, np.unique(split, return_inverse=True)[1], np.ones(len(group), bool))


def _differ(group: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Returns whether the values of a row's group differ, among the rows that count, bool [N]."""
  rows = np.flatnonzero((group >= 0) & counts)
  found = np.unique(np.stack([group[rows], values[rows]], 1), axis=0)  # the different values of each group
  which, several = np.unique(found[:, 0], return_counts=True)
  return np.isin(group, which[several > 1])
