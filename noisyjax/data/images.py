"""`Images`, the interface of everything that reads images by row number, independent of where the pixels are stored."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from noisyjax.data import decode
from noisyjax.system import threads

CHUNK = 1000  # images per chunk; float64 copies for pixel statistics take eight times their bytes


class Images(Protocol):
  """N images of one size.

  Attributes:
    shape: (N, H, W, C).
    resident: whether all pixels are in memory; if not, training reads the images of one step at a time.
  """

  resident: bool

  @property
  def shape(self) -> tuple[int, ...]: ...

  def __len__(self) -> int:
    """Returns N."""
    ...

  def take(self, rows: np.ndarray) -> Any:
    """Returns the images of `rows`, int [n], in this order: uint8 [n, H, W, C]."""
    ...

  def select(self, rows: np.ndarray) -> 'Images':
    """Returns the images of `rows`, int [n], in this order, without reading them if they are not in memory."""
    ...

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """Returns all images in memory, uint8 [N, H, W, C]."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayImages:
  """Images in memory.

  Attributes:
    array: uint8 [N, H, W, C]; a NumPy array, or a JAX array on a device.
  """

  array: Any
  resident = True

  @property
  def shape(self) -> tuple[int, ...]:
    return self.array.shape

  def __len__(self) -> int:
    return len(self.array)

  def take(self, rows: np.ndarray) -> Any:
    return self.array[rows]

  def select(self, rows: np.ndarray) -> Images:
    return ArrayImages(self.array[rows])

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return np.array(self.array, dtype) if copy else np.asarray(self.array, dtype)


def as_images(images: Any) -> Images:
  """Returns an array uint8 [N, H, W, C] as `Images`; returns `Images` unchanged."""
  return ArrayImages(images) if hasattr(images, 'dtype') else images


def chunks(images: Images, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
  """Yields chunks of images, uint8 [n, H, W, C] with n ≤ CHUNK.

  Args:
    images: the images.
    rows: row numbers, in the order of the result; None for all rows.
  """
  rows = np.arange(len(images)) if rows is None else rows
  parts = (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))
  yield from map(np.asarray, in_turn(images, parts))


def in_turn(images: Images, parts: Iterable[np.ndarray]) -> Iterator[Any]:
  """Yields `images.take(rows)` for each of the `parts`, int [n]; images that are not in memory are read ahead."""
  if images.resident:
    yield from map(images.take, parts)
  else:
    yield from threads.ahead(images.take, parts, threads.COUNT)


def first_of_same(images: Images) -> np.ndarray:
  """Returns, for each image, the first row with the same pixels, int64 [N]."""
  digests = np.array([decode.digest(image).encode() for chunk in chunks(images) for image in chunk])
  _, first, same = np.unique(digests, return_index=True, return_inverse=True)
  return first[same]
