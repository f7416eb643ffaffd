"""The static shape of a convolution, and the split of a batch into blocks that fit the cache."""

import math

import jax

Pair = tuple[int, int]
# Image size, kernel size and strides, each (height, width), and padding ((top, bottom), (left, right)).
Geometry = tuple[Pair, Pair, Pair, tuple[Pair, Pair]]


def outputs(geometry: Geometry) -> Pair:
  """Returns the height and width of the output."""
  height, width = ((n + sum(p) - k) // s + 1 for n, k, s, p in zip(*geometry))
  return height, width


def blocks(x: jax.Array, numbers: int, most: int) -> jax.Array:
  """Splits x [B, …] into blocks of equal size, [blocks, block, …].

  Args:
    x: images or gradients.
    numbers: size of one image's working set, in numbers.
    most: desired maximum size of a block's working set, in numbers.
  """
  limit = max(1, most // numbers)
  block = max(n for n in range(1, min(limit, len(x)) + 1) if len(x) % n == 0)
  return x.reshape(-1, block, *x.shape[1:])


def patch(geometry: Geometry, channels: int) -> int:
  """Returns the size of all patches of one image, in numbers."""
  return math.prod(outputs(geometry)) * math.prod(geometry[1]) * channels
