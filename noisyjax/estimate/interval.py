"""Confidence intervals of shares, such as accuracies."""

import numpy as np

Z = 1.959963984540054  # two-sided 95 %


def wilson(right: np.ndarray | float, count: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the lower and upper end of the 95 % interval of a share, [..]; 0 and 1 for a count of 0.

  Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference"; unlike ± z·σ, it lies within 0–1.

  Args:
    right: how often, [..]; fractions are allowed.
    count: of how many, [..].
  """
  right, count = np.asarray(right, np.float64), np.asarray(count, np.float64)
  n = np.maximum(count, 1e-12)
  share = right / n
  middle, half = share + Z**2 / (2 * n), Z * np.sqrt(np.maximum(share * (1 - share), 0) / n + Z**2 / (4 * n**2))
  scale = 1 + Z**2 / n
  low, high = (middle - half) / scale, (middle + half) / scale
  return np.where(count > 0, np.clip(low, 0, 1), 0.0)[()], np.where(count > 0, np.clip(high, 0, 1), 1.0)[()]
