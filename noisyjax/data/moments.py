"""Mean and variance of the pixels of a data set."""

import numpy as np

from noisyjax.data.images import Images, as_images, chunks
from noisyjax.data.packed import PackedImages


def moments(images: Images | np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and variance of each channel, exactly, from counts of the 256 values.

  Args:
    images: of N rows, or an array of them, uint8 [N, H, W, C].
    rows: the images that count, int [n]; None: all.

  Returns:
    float64 [C] and float64 [C], of values in 0..255.
  """
  channels = images.shape[-1]
  if isinstance(images, PackedImages):  # which may be too many to read
    rows = np.arange(len(images)) if rows is None else rows
    mean, square = images.sums(rows) / (len(rows) * images.each[0] * images.each[1])
    return mean, square - mean**2
  counts = np.zeros((channels, 256))
  for part in chunks(as_images(images), rows):
    pixels = part.reshape(-1, channels)
    counts += [np.bincount(pixels[:, c], minlength=256) for c in range(channels)]
  mean, square = (counts @ np.arange(256.0) ** power / counts.sum(1) for power in (1, 2))
  return mean, square - mean**2
