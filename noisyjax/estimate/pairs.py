"""How often two columns of labels agree and differ: the counts behind confusion and transition matrices."""

from typing import Any

import jax.numpy as jnp
import numpy as np


def count_pairs(rows: Any, columns: Any, classes: int) -> Any:
  """Counts the pairs of two columns of labels.

  Args:
    rows: labels, int [N]; negative = none. Such pairs are left out.
    columns: labels, int [N]; negative = none.
    classes: the number of classes C.

  Returns:
    int [C, C]: the number of each pair. NumPy arrays are counted by NumPy; other arrays by JAX, also within jit.
  """
  size = classes * classes
  if isinstance(rows, np.ndarray) and isinstance(columns, np.ndarray):
    both = (rows >= 0) & (columns >= 0)
    counts = np.bincount(rows[both].astype(np.int64) * classes + columns[both], minlength=size)
  else:
    cell = jnp.where((rows >= 0) & (columns >= 0), rows * classes + columns, size)  # `size`: a pair that is left out
    counts = jnp.bincount(cell, length=size + 1)[:-1]
  return counts.reshape(classes, classes)


def shares(counts: np.ndarray) -> np.ndarray:
  """Returns counts [C, C] as float64, each row divided by its sum; a row without counts stays 0."""
  return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def confusions(counts: np.ndarray, most: int) -> list[tuple[int, int, int]]:
  """Returns row, column and count of the largest counts off the diagonal, at most `most`, largest first.

  Args:
    counts: int [C, C].
    most: the maximum number of confusions; those with count 0 are left out.
  """
  off = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
  order = np.argsort(-off, axis=None, kind='stable')[:most]
  return [(*divmod(int(i), len(off)), int(off.flat[i])) for i in order if off.flat[i]]
