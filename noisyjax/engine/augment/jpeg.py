"""The effect of JPEG compression on the pixels of an image, in `jax.numpy`.

This is the baseline JPEG of ITU-T T.81 with the quantisation tables of its annex K. As in libjpeg with Pillow's
defaults, the tables are scaled by a quality from 1 to 100, and chroma is subsampled 4:2:0 and interpolated back by the
triangle filter. Entropy coding is lossless and left out. Departure: the cosines are float32; libjpeg's are 13-bit
integers.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Annex K, tables K.1 and K.2, by vertical and horizontal frequency.
LUMINANCE = np.array(
  [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
  ],
  np.float32,
)
CHROMINANCE = np.full((8, 8), 99, np.float32)
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# RGB to luma and two chromas (JFIF) and back. The offset of 128 of the chromas is left out, because the level shift of
# the cosine transform would subtract it again.
TO_YCC = np.array(
  [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]], np.float32
)
FROM_YCC = np.array([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]], np.float32)


def _cosines() -> np.ndarray:
  """Returns the orthonormal two-dimensional DCT of an 8 x 8 block as a matrix [64, 64]: pixels → coefficients."""
  k, n = np.mgrid[:8, :8]
  one = np.cos((2 * n + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
  return np.kron(one, one).astype(np.float32)


COSINES = _cosines()


def compressed(image: jax.Array, quality: jax.Array) -> jax.Array:
  """Returns an image after JPEG compression and decompression.

  Args:
    image: float32 [H, W, C] in 0..255, which is rounded to integers first; C = 1 or 3.
    quality: integer from 1 to 100, traced.

  Returns:
    float32 [H, W, C], integers in 0..255.
  """
  height, width, channels = image.shape
  image = jnp.round(image)
  if channels == 1:
    luma = _coded(_padded(image[..., 0], 8, 8) - 128.0, LUMINANCE, quality)
    return jnp.clip(jnp.round(luma[:height, :width, None] + 128.0), 0.0, 255.0)
  planes = jnp.round(jnp.tensordot(TO_YCC, image, (1, 2), precision='highest'))  # [3, H, W]
  luma = _coded(_padded(planes[0], 8, 8) - 128.0, LUMINANCE, quality)[:height, :width] + 128.0
  chroma = _padded(planes[1:], 2, 16)  # as in libjpeg: columns are padded to 16 before subsampling, rows to 8 after
  high, wide = chroma.shape[1] // 2, chroma.shape[2] // 2
  halves = chroma.reshape(2, high, 2, wide, 2).mean((2, 4))
  halved = _padded(jnp.floor(halves + _alternating(wide, 1 / 4, 2 / 4)), 8, 8)  # [2, H'/2, W'/2]
  chroma = jnp.stack([_coded(plane, CHROMINANCE, quality) for plane in halved])
  chroma = jnp.clip(jnp.round(chroma), -128.0, 127.0)[:, : -(-height // 2), : -(-width // 2)]
  if chroma.shape[2] > 2:
    doubled = _doubled(_doubled(chroma, 1), 2)[:, :height, :width]
    chroma = jnp.floor(doubled + _alternating(width, 8 / 16, 7 / 16))
  else:  # libjpeg does not interpolate images this narrow
    chroma = chroma.repeat(2, 1).repeat(2, 2)[:, :height, :width]
  planes = jnp.concatenate([jnp.clip(jnp.round(luma), 0.0, 255.0)[None], chroma])
  rgb = jnp.einsum('cd,dhw->hwc', FROM_YCC, planes, precision='highest')
  return jnp.clip(jnp.round(rgb), 0.0, 255.0)


def _alternating(width: int, even: float, odd: float) -> np.ndarray:
  """Returns the offset per column, [width], that libjpeg adds before it rounds down, so that rounding has no bias."""
  return np.where(np.arange(width) % 2, odd, even).astype(np.float32)


def _padded(planes: jax.Array, rows: int, columns: int) -> jax.Array:
  """Pads [..., H, W] with copies of the last row and column to multiples of `rows` and `columns`."""
  height, width = planes.shape[-2:]
  missing = [(0, 0)] * (planes.ndim - 2) + [(0, -height % rows), (0, -width % columns)]
  return jnp.pad(planes, missing, mode='edge')


def _coded(plane: jax.Array, table: np.ndarray, quality: jax.Array) -> jax.Array:
  """Quantises the DCT coefficients of each 8 x 8 block and transforms them back.

  Args:
    plane: [H', W'] around 0; both sides are multiples of 8.
    table: quantisation steps at quality 50, [8, 8].
    quality: from 1 to 100.

  Returns:
    [H', W'].
  """
  scale = jnp.where(quality < 50, jnp.floor(5000.0 / quality), 200.0 - 2.0 * quality)
  step = jnp.clip(jnp.floor((table.reshape(-1) * scale + 50.0) / 100.0), 1.0, 255.0)  # [64]
  high, wide = plane.shape[0] // 8, plane.shape[1] // 8
  blocks = plane.reshape(high, 8, wide, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
  cosines = jnp.matmul(blocks, COSINES.T, precision='highest')
  kept = jnp.matmul(jnp.round(cosines / step) * step, COSINES, precision='highest')
  return kept.reshape(high, wide, 8, 8).transpose(0, 2, 1, 3).reshape(plane.shape)


def _doubled(planes: jax.Array, axis: int) -> jax.Array:
  """Doubles the samples along an axis by a triangle filter; the ends are repeated.

  Each new sample is 3/4 of the nearest old sample and 1/4 of the second nearest.
  """
  last = planes.shape[axis] - 1
  before = jnp.take(planes, np.maximum(np.arange(last + 1) - 1, 0), axis)
  after = jnp.take(planes, np.minimum(np.arange(last + 1) + 1, last), axis)
  pair = jnp.stack([0.75 * planes + 0.25 * before, 0.75 * planes + 0.25 * after], axis + 1)
  return pair.reshape(*planes.shape[:axis], 2 * (last + 1), *planes.shape[axis + 1 :])
