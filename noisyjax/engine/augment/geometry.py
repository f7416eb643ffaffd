"""Geometric operations on one image [H, W, C]: affine warps and bilinear sampling."""

import jax
import jax.numpy as jnp

BLACK = 0.0  # value of pixels outside the image


def rotation(degrees: jax.Array, height: int, width: int) -> jax.Array:
  """Returns the matrix [3, 3] for `warp` that rotates an image counter-clockwise about its centre, as in PIL."""
  angle = jnp.deg2rad(degrees)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  x, y = width / 2, height / 2
  return jnp.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0.0, 0.0, 1.0]])


def warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
  """Applies an affine transform, as PIL's AFFINE does: output pixel p takes the value of the input at `matrix @ p`.

  Args:
    image: [H, W, C] in 0..255.
    matrix: [3, 3]; maps p = (x, y, 1), with pixel centres at half-integers.
  """
  height, width, _ = image.shape
  y, x = jnp.arange(height)[:, None] + 0.5, jnp.arange(width)[None] + 0.5
  (xx, xy, x0), (yx, yy, y0), _ = matrix
  return sample(image, yx * x + yy * y + y0 - 0.5, xx * x + xy * y + x0 - 0.5)


def move(image: jax.Array, matrix: jax.Array, border: float) -> jax.Array:
  """Applies an affine transform as `warp` does, but each output pixel takes the value of the nearest input pixel.

  Args:
    image: [H, W, C].
    matrix: [3, 3], as in `warp`.
    border: value of output pixels that lie outside the input.
  """
  height, width, channels = image.shape
  y, x = jnp.arange(height)[:, None] + 0.5, jnp.arange(width)[None] + 0.5
  (xx, xy, x0), (yx, yy, y0), _ = matrix
  row, column = jnp.floor(yx * x + yy * y + y0), jnp.floor(xx * x + xy * y + x0)
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  place = jnp.where(inside, row * width + column, 0.0).astype(jnp.int32)  # [H, W]
  moved = image.reshape(-1, channels).at[place].get(mode='promise_in_bounds')
  return jnp.where(inside[..., None], moved, border)


def sample(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
  """Returns the image at the points (y, x), by bilinear interpolation; it is black outside.

  Args:
    image: [H, W, C] in 0..255.
    y: vertical coordinates, in pixels from the centre of the first pixel; `y` and `x` broadcast to [H, W].
    x: horizontal coordinates, likewise.
  """
  height, width, channels = image.shape
  framed = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=BLACK).reshape(-1, channels)
  y, x = jnp.clip(y + 1.0, 0.0, height + 1.0), jnp.clip(x + 1.0, 0.0, width + 1.0)
  top, left = jnp.minimum(jnp.floor(y), height), jnp.minimum(jnp.floor(x), width)
  down, right = (y - top)[..., None], (x - left)[..., None]  # [H, W, 1] in 0..1
  corner = top.astype(jnp.int32) * (width + 2) + left.astype(jnp.int32)  # [H, W], index of the upper left neighbour

  def at(offset: int) -> jax.Array:
    return framed.at[corner + offset].get(mode='promise_in_bounds')  # [H, W, C]

  upper = at(0) * (1.0 - right) + at(1) * right
  lower = at(width + 2) * (1.0 - right) + at(width + 3) * right
  return jnp.clip(upper * (1.0 - down) + lower * down, 0.0, 255.0)
