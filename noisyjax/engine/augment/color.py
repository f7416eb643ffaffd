"""Colour operations on one image: float32 [H, W, C] in 0..255 to the same.

Amounts are traced numbers.
"""

import jax
import jax.numpy as jnp


def adjust_brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Towards black (factor < 1) or away from it."""
  return _blend(image, jnp.zeros_like(image), factor)


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Towards the image's mean gray or away from it."""
  return _blend(image, _gray(image.mean((0, 1))), factor)  # the mean of the gray is the gray of the mean


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Towards gray or away from it; one channel has no saturation."""
  return _blend(image, _gray(image), factor)


def adjust_sharpness(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Towards PIL's SMOOTH (weights 1 around a 5, over 13; the outermost pixels stay) or away from it."""
  rows = image[:-2] + image[1:-1] + image[2:]  # [H-2, W, C]
  nine = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]  # [H-2, W-2, C]
  inner = (nine + 4.0 * image[1:-1, 1:-1]) / 13.0
  return _blend(image, image.at[1:-1, 1:-1].set(inner), factor)


def adjust_hue(image: jax.Array, shift: jax.Array) -> jax.Array:
  """Turns the hue by `shift` circles at equal HSV saturation and value; one channel has no hue.

  With V the largest and X the spread of a pixel's channels, channel n of the result is V - X max(0, min(k, 4 - k, 1)),
  k = (n + 6 hue) mod 6 and n = 5, 3, 1 for red, green, blue: HSV to RGB without its six cases.
  """
  if image.shape[-1] != 3:
    return image
  red, green, blue = (image[..., channel] for channel in range(3))
  value = jnp.maximum(jnp.maximum(red, green), blue)
  spread = value - jnp.minimum(jnp.minimum(red, green), blue)
  safe = jnp.where(spread > 0, spread, 1.0)
  blue_or_green = jnp.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe)
  sector = jnp.where(value == red, (green - blue) / safe, blue_or_green) + 6.0 * shift  # [H, W], mod 6

  def channel(n: float) -> jax.Array:
    k = n + sector
    k -= 6.0 * jnp.floor(k / 6.0)  # `%` is a slow library call on CPU
    return value - spread * jnp.clip(jnp.minimum(k, 4.0 - k), 0.0, 1.0)

  return jnp.clip(jnp.stack([channel(5.0), channel(3.0), channel(1.0)], axis=-1), 0.0, 255.0)


def autocontrast(image: jax.Array) -> jax.Array:
  """Each channel stretched to 0..255; a channel of one value stays."""
  lo, hi = image.min((0, 1)), image.max((0, 1))  # [C]
  spread = jnp.where(hi > lo, hi - lo, 255.0)
  return jnp.clip((image - jnp.where(hi > lo, lo, 0.0)) * (255.0 / spread), 0.0, 255.0)


def equalize(image: jax.Array) -> jax.Array:
  """Each channel's histogram made flat, by PIL's integer arithmetic on the rounded values.

  With n the number of pixels darker than a value, and s = floor(max n / 255): the value becomes
  floor((n + floor(s / 2)) / s).
  """
  channels = image.shape[-1]
  value = jnp.clip(jnp.round(image), 0.0, 255.0)
  slot = value.astype(jnp.int32) + 256 * jnp.arange(channels)  # one histogram a channel, laid end to end
  counts = jnp.zeros(256 * channels, jnp.int32).at[slot.ravel()].add(1, mode='promise_in_bounds')
  counts = counts.reshape(channels, 256).astype(jnp.float32)  # exact: far fewer than 2^24 pixels
  # A product, not a cumsum: XLA would fuse the running sum into the look-up below and redo it for every pixel.
  darker = jnp.matmul(counts, jnp.tri(256, k=-1).T, precision='highest')  # [C, 256]
  most = jnp.where(counts > 0, darker, 0.0).max(1, keepdims=True)  # [C, 1]
  step = jnp.floor((most + 0.5) / 255.0)  # the half keeps an inexact quotient off the next integer
  table = jnp.minimum(jnp.floor((darker + jnp.floor(step / 2.0) + 0.5) / jnp.maximum(step, 1.0)), 255.0)
  table = jnp.where(step > 0, table, jnp.arange(256.0))  # too few pixels or values: unchanged
  return table.ravel().at[slot].get(mode='promise_in_bounds')


def posterize(image: jax.Array, bits: jax.Array) -> jax.Array:
  """Keeps the upper `bits` of 8."""
  step = jnp.left_shift(1, 8 - bits).astype(image.dtype)
  return jnp.floor(image / step) * step


def solarize(image: jax.Array, threshold: jax.Array) -> jax.Array:
  """Inverts the values that reach `threshold`."""
  return jnp.where(image >= threshold, 255.0 - image, image)


def _blend(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
  return jnp.clip(image * factor + other * (1.0 - factor), 0.0, 255.0)  # factor 1 gives the image to the last bit


def _gray(image: jax.Array) -> jax.Array:
  """ITU-R 601 luma [..., 1] of [..., C]."""
  if image.shape[-1] != 3:
    return image
  return 0.299 * image[..., 0:1] + 0.587 * image[..., 1:2] + 0.114 * image[..., 2:3]
