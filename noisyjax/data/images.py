"""Images by their row numbers: what everything that reads images asks for, wherever the pixels are kept."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from noisyjax.data import decode

CHUNK = 1000  # images that are read at once where all are gone through: counting pixels takes eight times their bytes


class Images(Protocol):
  """N images of one size.

  Attributes:
    shape: (N, H, W, C).
  """

  @property
  def shape(self) -> tuple[int, ...]: ...

  def __len__(self) -> int:
    """Returns N."""
    ...

  def take(self, rows: np.ndarray) -> Any:
    """Returns uint8 [n, H, W, C], the images of the rows int [n], in their order."""
    ...

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """Returns all of them, uint8 [N, H, W, C]: only for those who hold all images in memory."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayImages:
  """Images in memory.

  Attributes:
    array: uint8 [N, H, W, C], of numpy, or of JAX where they lie on a device.
  """

  array: Any

  @property
  def shape(self) -> tuple[int, ...]:
    return self.array.shape

  def __len__(self) -> int:
    return len(self.array)

  def take(self, rows: np.ndarray) -> Any:
    return self.array[rows]

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return np.array(self.array, dtype) if copy else np.asarray(self.array, dtype)


def as_images(images: Any) -> Images:
  """Returns an array uint8 [N, H, W, C] as `Images`; what is that already is returned as it is."""
  return ArrayImages(images) if hasattr(images, 'dtype') else images


def chunks(images: Images, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
  """Yields the images of some rows, in their order, uint8 [n, H, W, C] at a time; None: of all."""
  rows = np.arange(len(images)) if rows is None else rows
  for start in range(0, len(rows), CHUNK):
    yield np.asarray(images.take(rows[start : start + CHUNK]))


def first_of_same(images: Images) -> np.ndarray:
  """Returns int64 [N]: for each image the first row that holds the same pixels."""
  digests = np.array([decode.digest(image) for chunk in chunks(images) for image in chunk])
  _, first, same = np.unique(digests, return_index=True, return_inverse=True)
  return first[same]
