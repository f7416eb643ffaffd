"""Max pooling whose gradient is fast on every backend.

XLA's gradient of a window maximum is a select-and-scatter, which its CPU backend runs several times slower than the
pairwise comparisons below. Values and gradients are those of `nn.max_pool`, ties included.
"""

import jax
import jax.numpy as jnp


def max_pool_2x2(images: jax.Array) -> jax.Array:
  """Returns the maximum of every 2x2 window, stride 2; an odd last row or column is dropped ('VALID').

  Among equal values the first in row-major order takes the whole gradient, as in Keras, PyTorch and XLA.

  Args:
    images: `[B, H, W, C]`.

  Returns:
    `[B, H // 2, W // 2, C]`.
  """
  batch, height, width, channels = images.shape
  height, width = height // 2, width // 2
  windows = images[:, : 2 * height, : 2 * width].reshape(batch, height, 2, width, 2, channels)
  rows = _first_max(windows[:, :, :, :, 0], windows[:, :, :, :, 1])  # [B, H // 2, 2, W // 2, C]
  return _first_max(rows[:, :, 0], rows[:, :, 1])


def _first_max(a: jax.Array, b: jax.Array) -> jax.Array:
  # Not jnp.maximum: it would share the gradient of a tie. A nan on either side is kept, so that a diverged run shows.
  return jnp.where((a >= b) | jnp.isnan(a), a, b)
