"""Colour operations on one image, float32 [H, W, C] in 0..255. The result has the same shape and range.

All amounts are traced.
"""

import jax
import jax.numpy as jnp


def adjust_brightness(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the pixels: factor 0 gives black, 1 the image."""
  return _blend(image, jnp.zeros_like(image), factor)


def adjust_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the distance from the mean gray of the image: factor 0 gives that gray, 1 the image."""
  return _blend(image, _gray(image.mean((0, 1))), factor)  # the mean of the gray is the gray of the mean


def adjust_saturation(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the distance from the gray image: factor 0 gives gray, 1 the image. Does nothing to a single channel."""
  return _blend(image, _gray(image), factor)


def adjust_sharpness(image: jax.Array, factor: jax.Array) -> jax.Array:
  """Scales the distance from the image smoothed by PIL's SMOOTH: factor 0 gives the smoothed image, 1 the image.

  SMOOTH has weight 5/13 at the centre and 1/13 at its eight neighbours, and keeps the outermost pixels.
  """
  rows = image[:-2] + image[1:-1] + image[2:]  # [H-2, W, C]
  nine = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]  # [H-2, W-2, C]
  inner = (nine + 4.0 * image[1:-1, 1:-1]) / 13.0
  return _blend(image, image.at[1:-1, 1:-1].set(inner), factor)


def adjust_hue(image: jax.Array, shift: jax.Array) -> jax.Array:
  """Rotates the hue by `shift` turns and keeps HSV saturation and value. Does nothing to a single channel.

  With V the maximum of a pixel's channels and X their maximum minus their minimum, channel n of the result is
  V - X max(0, min(k, 4 - k, 1)), where k = (n + 6 hue) mod 6 and n = 5, 3, 1 for red, green, blue. This is the
  conversion from HSV to RGB without its six cases.
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
  """Stretches each channel to 0..255; a constant channel is not changed."""
  lo, hi = image.min((0, 1)), image.max((0, 1))  # [C]
  spread = jnp.where(hi > lo, hi - lo, 255.0)
  return jnp.clip((image - jnp.where(hi > lo, lo, 0.0)) * (255.0 / spread), 0.0, 255.0)


def equalize(image: jax.Array) -> jax.Array:
  """Equalizes the histogram of each channel with PIL's integer arithmetic, on rounded values.

  With n the number of pixels that are darker than a value, and s = floor(max n / 255), the value becomes
  floor((n + floor(s / 2)) / s).
  """
  channels = image.shape[-1]
  value = jnp.clip(jnp.round(image), 0.0, 255.0)
  slot = value.astype(jnp.int32) + 256 * jnp.arange(channels)  # the histograms of the channels, concatenated
  # TPUs count and look up one value after another: there, each value is compared with all 256.
  same = lambda: value.reshape(-1, channels)[..., None] == jnp.arange(256.0)  # [HW, C, 256]

  def counted() -> jax.Array:
    counts = jnp.zeros(256 * channels, jnp.int32).at[slot.ravel()].add(1, mode='promise_in_bounds')
    return counts.reshape(channels, 256).astype(jnp.float32)  # exact: far fewer than 2^24 pixels

  counts = jax.lax.platform_dependent(tpu=lambda: same().astype(jnp.float32).sum(0), default=counted)
  # A matmul, not a cumsum: XLA would fuse the cumsum into the look-up below and recompute it for every pixel.
  darker = jnp.matmul(counts, jnp.tri(256, k=-1).T, precision='highest')  # [C, 256]
  most = jnp.where(counts > 0, darker, 0.0).max(1, keepdims=True)  # [C, 1]
  step = jnp.floor((most + 0.5) / 255.0)  # 0.5 guards the floor against rounding errors of the quotient
  table = jnp.minimum(jnp.floor((darker + jnp.floor(step / 2.0) + 0.5) / jnp.maximum(step, 1.0)), 255.0)
  table = jnp.where(step > 0, table, jnp.arange(256.0))  # too few pixels or values: unchanged
  return jax.lax.platform_dependent(
    tpu=lambda: jnp.where(same(), table, 0.0).sum(-1).reshape(image.shape),
    default=lambda: table.ravel().at[slot].get(mode='promise_in_bounds'),
  )


def posterize(image: jax.Array, bits: jax.Array) -> jax.Array:
  """Keeps the upper `bits` of the 8 bits of each value."""
  step = jnp.left_shift(1, 8 - bits).astype(image.dtype)
  return jnp.floor(image / step) * step


def solarize(image: jax.Array, threshold: jax.Array) -> jax.Array:
  """Inverts the values from `threshold` on."""
  return jnp.where(image >= threshold, 255.0 - image, image)


def _blend(image: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
  return jnp.clip(image * factor + other * (1.0 - factor), 0.0, 255.0)  # exact for factor 1


def _gray(image: jax.Array) -> jax.Array:
  """Returns the ITU-R 601 luma, [..., 1], of RGB; a single channel is returned as it is."""
  if image.shape[-1] != 3:
    return image
  return 0.299 * image[..., 0:1] + 0.587 * image[..., 1:2] + 0.114 * image[..., 2:3]
