"""Mean and variance of the pixels of a data set."""

import numpy as np

CHUNK = 1000  # images counted at once: bincount takes eight bytes for each byte


def moments(images: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and variance of each channel, exactly, from counts of the 256 values.

  Args:
    images: uint8 [N, H, W, C].
    rows: The images that count, int [n]; None: all.

  Returns:
    float64 [C] and float64 [C], of values in 0..255.
  """
  channels = images.shape[-1]
  rows = np.arange(len(images)) if rows is None else rows
  counts = np.zeros((channels, 256))
  for start in range(0, len(rows), CHUNK):
    pixels = images[rows[start : start + CHUNK]].reshape(-1, channels)
    counts += [np.bincount(pixels[:, c], minlength=256) for c in range(channels)]
  mean, square = (counts @ np.arange(256.0) ** power / counts.sum(1) for power in (1, 2))
  return mean, square - mean**2
