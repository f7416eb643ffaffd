"""Max pooling whose gradient is fast on every backend.

XLA's gradient of a window maximum is a select-and-scatter, which its CPU backend runs several times slower than what
stands here. Values and gradients are those of `nn.max_pool`, ties included.
"""

import jax
import jax.numpy as jnp
import numpy as np


@jax.custom_vjp
def max_pool_2x2(images: jax.Array) -> jax.Array:
  """Returns the maximum of every 2x2 window, stride 2; an odd last row or column is dropped, but not an only one.

  Among equal values the first in row-major order takes the whole gradient, as in Keras, PyTorch and XLA. A nan is kept,
  so that a diverged run shows. Reverse mode only.

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
  """Returns a window's height and width."""
  height, width = (min(n, 2) for n in images.shape[1:3])
  return height, width


def _windows(images: jax.Array) -> list[jax.Array]:
  """Returns the windows' pixels, each [B, H', W', C], in row-major order."""
  h, w = _window(images)
  whole = images[:, : images.shape[1] // h * h, : images.shape[2] // w * w]
  return [whole[:, i::h, j::w] for i, j in np.ndindex(h, w)]


def _forward(images: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  top, pixels = max_pool_2x2(images), _windows(images)
  place = jnp.full(top.shape, len(pixels) - 1, jnp.uint8)  # of the maximum in its window
  for number in reversed(range(len(pixels) - 1)):
    place = jnp.where(pixels[number] == top, jnp.uint8(number), place)
  return top, (place, jnp.zeros((0, *images.shape[1:])))


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array]:
  place, like = saved  # one pass writes the gradient: nothing is padded, and no pixel is looked at
  (h, w), (b, rows, columns, c) = _window(like), g.shape
  own = jnp.arange(h * w, dtype=jnp.uint8).reshape(1, 1, h, 1, w, 1)
  pixels = jnp.where(place[:, :, None, :, None] == own, g[:, :, None, :, None], 0)
  pixels = pixels.reshape(b, rows * h, columns * w, c)
  return (jnp.pad(pixels, [(0, 0), *((0, n - m) for n, m in zip(like.shape[1:3], pixels.shape[1:3])), (0, 0)]),)


max_pool_2x2.defvjp(_forward, _backward)
