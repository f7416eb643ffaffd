"""Max pooling with a gradient that is fast on every backend.

XLA computes the gradient of a window maximum with a select-and-scatter, which is several times slower on its CPU
backend than the implementation here. Values and gradients equal those of `nn.max_pool`, including ties.
"""

import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def max_pool_2x2(images: jax.Array) -> jax.Array:
  """Returns the maximum of every 2x2 window with stride 2.

  The last row or column of an odd size is dropped, unless it is the only one. Among equal values, the first in
  row-major order receives the whole gradient, as in Keras, PyTorch and XLA. NaN propagates, so that divergence remains
  visible. Reverse-mode differentiation only.

  Args:
    images: `[B, H, W, C]`.

  Returns:
    `[B, max(H // 2, 1), max(W // 2, 1), C]`.
  """
  top, *others = _windows(images)
  for pixel in others:
    top = jnp.maximum(top, pixel)
  return top


def _window(images: jax.Array) -> tuple[int, int]:
  """Returns the height and width of a window: 2, or 1 along an axis of one pixel."""
  height, width = (min(n, 2) for n in images.shape[1:3])
  return height, width


def _windows(images: jax.Array) -> list[jax.Array]:
  """Returns the pixels of all windows: one array [B, H', W', C] for each position in a window, in row-major order."""
  h, w = _window(images)
  whole = images[:, : images.shape[1] // h * h, : images.shape[2] // w * w]
  return [whole[:, i::h, j::w] for i, j in np.ndindex(h, w)]


def _forward(images: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Returns the maxima, and for the backward pass their positions and an empty array of the images' shape."""
  top, pixels = max_pool_2x2(images), _windows(images)
  place = jnp.full(top.shape, len(pixels) - 1, jnp.uint8)  # position of the maximum in its window
  for number in reversed(range(len(pixels) - 1)):
    place = jnp.where(pixels[number] == top, jnp.uint8(number), place)
  return top, (place, jnp.zeros((0, *images.shape[1:])))


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array]:
  """Returns the gradient of the images."""
  place, like = saved  # the gradient is written in one pass, without padding and without reading the images
  (h, w), (b, rows, columns, c) = _window(like), g.shape
  own = jnp.arange(h * w, dtype=jnp.uint8).reshape(1, 1, h, 1, w, 1)
  pixels = jnp.where(place[:, :, None, :, None] == own, g[:, :, None, :, None], 0)
  pixels = pixels.reshape(b, rows * h, columns * w, c)
  return (jnp.pad(pixels, [(0, 0), *((0, n - m) for n, m in zip(like.shape[1:3], pixels.shape[1:3])), (0, 0)]),)


max_pool_2x2.defvjp(_forward, _backward)
