"""3x3 convolutions by Winograd's F(2x2, 3x3) (Lavin and Gray 2016, section 4.1): 16 products for 4 outputs, not 36.

With image tiles d [4, 4], 2 pixels apart, and the kernel k [3, 3]: y [2, 2] = A ((G k G') * (B d B')) A', where the
product at each of the 16 places is, over channels, a matmul. In float32 this errs no more than summing all 9 products
does: there is less to sum. Blocks of images go through a `lax.scan`, so that their tiles stay in the cache.

The weight gradient, G' ((B d B') * (A' g A)) G, has such a form too, and was mostly no faster than one matmul: both
factors of its products have the tiles first, and one must be transposed.
"""

import functools
import math
import operator

import jax
import jax.numpy as jnp
from jax import lax

from noisyjax.models.geometry import Geometry, blocks, outputs

Grid = list[list[jax.Array]]  # arrays by row and column of a tile

A = ((1, 1, 1, 0), (0, 1, -1, -1))
B = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
G = ((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1))
BLOCK = 2**22  # numbers in the tiles of one block, 16 MiB: by measurement
LEAST_SIDE, LEAST_CHANNELS = 6, 64  # below these the tiles cost more than they save


def pays(geometry: Geometry, channels: int, features: int, dtype) -> bool:
  """Returns whether a convolution is of this kind (3x3, at every pixel, float32 or wider) and outran XLA's own."""
  fits = geometry[1:3] == ((3, 3), (1, 1)) and jnp.finfo(dtype).bits >= 32
  return fits and min(geometry[0]) >= LEAST_SIDE and min(channels, features) >= LEAST_CHANNELS


def convolve(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
  """Convolves x [B, H, W, C] with kernel [3, 3, C, F] -> [B, H', W', F]."""
  (h, w), f = outputs(geometry), kernel.shape[-1]
  kernel = _both(G, [list(row) for row in kernel])

  def block(_, x):
    tiles = _image_tiles(x, geometry)
    y = _both(A, [[tile @ k for tile, k in zip(*rows)] for rows in zip(tiles, kernel)])
    rows = [jnp.stack(row, 3).reshape(*y[0][0].shape[:2], -1, f) for row in y]  # [b, H'/2, W', F]
    return None, jnp.stack(rows, 2).reshape(len(x), -1, *rows[0].shape[2:])[:, :h, :w]

  numbers = 16 * math.prod(-(-n // 2) for n in (h, w)) * (x.shape[-1] + f)  # an image's tiles, in and out
  _, y = lax.scan(block, None, blocks(x, numbers, BLOCK))
  return y.reshape(-1, h, w, f)


def _both(matrix, grid: Grid) -> Grid:
  """Returns matrix @ grid @ matrix' of a grid of arrays."""
  add = lambda row, arrays: functools.reduce(operator.add, (c * a for c, a in zip(row, arrays) if c))
  columns = [[add(row, column) for row in matrix] for column in zip(*grid)]
  return [[add(row, arrays) for row in matrix] for arrays in zip(*columns)]


def _image_tiles(x: jax.Array, geometry: Geometry) -> Grid:
  """Returns B d B' of all tiles of x [b, H, W, C]: 4 x 4 arrays [b, H'/2, W'/2, C]."""
  counts = [-(-n // 2) for n in outputs(geometry)]
  ends = [2 * count + 2 - n - before for count, n, (before, _) in zip(counts, geometry[0], geometry[3])]
  pads = [(before, end, 0) for (before, _), end in zip(geometry[3], ends)]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  cut = lambda i, j: x[:, i : i + 2 * counts[0] : 2, j : j + 2 * counts[1] : 2]
  return _both(B, [[cut(i, j) for j in range(4)] for i in range(4)])
