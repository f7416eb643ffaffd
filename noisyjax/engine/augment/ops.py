"""The operations that a config may name, and `augment`, which applies a tuple of them to a batch.

An op is `op(key, image [H, W, C], strength) -> image [H, W, C]` on float32 values in 0..255; results are in that range.

* `crop`, `flip`: He et al. 2016 (arXiv:1512.03385, section 4.2). The border is black (0 before normalisation), as in
  torchvision's `RandomCrop(32, padding=4)` and in the official code of the methods whose numbers we compare with
  (DivideMix, ELR, SOP). `reflect_crop` continues the image by its reflection instead, as the official code of FixMatch,
  MixMatch (USB) and Meta-Weight-Net does.
* `rotate`: a uniform angle, bilinear, black outside.
* `jitter`, `resized_crop`: torchvision's `ColorJitter` and `RandomResizedCrop` (Szegedy et al. 2015,
  arXiv:1409.4842). Jitter has a fixed order (brightness, contrast, saturation, hue); torchvision shuffles it per
  image. A box that exceeds the image is clipped; torchvision draws again.
* `cutout`: DeVries and Taylor 2017 (arXiv:1708.04552): a square around any pixel, which may extend beyond the
  border. It has the mean colour of CIFAR-10, as in USB and ProMix; the paper and SOP use zero after normalisation,
  which is the same for CIFAR-10. `random_cutout`: the square of microsoft/Semi-supervised-learning (USB) and ProMix,
  whose side is random for each image; the right and lower border cut it off, the left and upper ones push it back.
* `rand_augment`, `auto_augment`, `signed_auto_augment`: see `policies.py`.
* `feature_view`, `feature_noise`: of features; see `features.py`.
* `jpeg`: half of the images, chosen at random, are compressed as JPEG at a random quality; see `jpeg.py`. The others
  are not changed, so that a network sees both.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from noisyjax.engine.augment import color
from noisyjax.engine.augment.features import FEATURE_OPS
from noisyjax.engine.augment.geometry import BLACK, rotation, sample, warp
from noisyjax.engine.augment.jpeg import compressed
from noisyjax.engine.augment.policies import auto_augment, rand_augment, signed_auto_augment
from noisyjax.engine.augment.strength import Strength, between
from noisyjax.system.errors import UserError, check_choice

HOLE = (125.0, 123.0, 114.0)  # colour of the pixels that cutout covers; without colours, their mean


def augment(ops: tuple[str, ...], strength: Strength, keys: jax.Array, images: jax.Array) -> jax.Array:
  """Runs `ops` in order over a batch.

  Args:
    ops: names of operations, checked by `check_ops`; static. An operation may occur twice: its position in `ops` is
      folded into its key.
    strength: strengths, shared by all rows.
    keys: typed keys [B], one per row, such as `jax.vmap(jax.random.fold_in, (None, 0))(key, rows)`.
    images: float32 [B, H, W, C] in 0..255, C = 1 or 3.

  Returns:
    float32 [B, H, W, C] in 0..255.
  """
  for position, name in enumerate(ops):
    key = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, position)  # [B]
    images = jax.vmap(OPS[name], in_axes=(0, 0, None))(key, images, strength)
  return images


def _width(image: jax.Array, strength: Strength) -> int:
  """Returns `pad` in pixels."""
  return round(strength.pad * min(image.shape[:2])) if strength.pad < 1 else int(strength.pad)


def _window(key: jax.Array, framed: jax.Array, image: jax.Array, pad: int) -> jax.Array:
  """Cuts a random window of the image's size out of the image with a border of width `pad`."""
  top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
  # On CPU, a slice per row takes 0.4 ms for 256 images of 32x32x3, index gathers 0.5-0.8 ms, one-hot products 2.3 ms.
  return jax.lax.dynamic_slice(framed, (top, left, 0), image.shape)


def crop(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Adds a black border of width `pad` and cuts out a random window of the image's size."""
  pad = _width(image, strength)
  return _window(key, jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=BLACK), image, pad)


def reflect_crop(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Continues the image by its reflection to a width of `pad` and cuts out a random window of the image's size."""
  pad = _width(image, strength)
  return _window(key, jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode='reflect'), image, pad)


def flip(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Mirrors an image left to right with probability 1/2."""
  del strength
  return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def rotate(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Rotates about the centre by a random angle."""
  degrees = between(jax.random.uniform(key), -strength.rotation, strength.rotation)
  return warp(image, rotation(degrees, *image.shape[:2]))


def jitter(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Changes brightness, contrast, saturation and hue, in this order, by independent random amounts."""
  uniform = jax.random.uniform(key, (4,))

  def factor(u: jax.Array, amount: jax.Array | float) -> jax.Array:
    return between(u, jnp.maximum(0.0, 1.0 - amount), 1.0 + amount)

  image = color.adjust_brightness(image, factor(uniform[0], strength.brightness))
  image = color.adjust_contrast(image, factor(uniform[1], strength.contrast))
  image = color.adjust_saturation(image, factor(uniform[2], strength.saturation))
  return color.adjust_hue(image, between(uniform[3], -strength.hue, strength.hue))


def resized_crop(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Cuts out a box of random area and aspect ratio, in whole pixels, and resizes it to H x W bilinearly."""
  height, width, _ = image.shape
  uniform = jax.random.uniform(key, (4,))
  area = height * width * between(uniform[0], *strength.scale)
  ratio = jnp.exp(between(uniform[1], jnp.log(strength.ratio[0]), jnp.log(strength.ratio[1])))
  tall = jnp.clip(jnp.round(jnp.sqrt(area / ratio)), 1.0, height)
  wide = jnp.clip(jnp.round(jnp.sqrt(area * ratio)), 1.0, width)
  top = jnp.floor(uniform[2] * (height - tall + 1.0))
  left = jnp.floor(uniform[3] * (width - wide + 1.0))

  def line(size: int, start: jax.Array, length: jax.Array) -> jax.Array:  # input coordinates of the output pixels
    return start + jnp.clip((jnp.arange(size) + 0.5) * (length / size) - 0.5, 0.0, length - 1.0)

  return sample(image, line(height, top, tall)[:, None], line(width, left, wide)[None])


def cutout(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Covers a square of side `cutout` around a random pixel."""
  height, width, _ = image.shape
  size = _length(strength.cutout, image)
  top, left = jax.random.randint(key, (2,), 0, jnp.array([height, width])) - size // 2
  return _hole(image, top, top + size, left, left + size)


def random_cutout(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Covers a square around a random point; its side is uniform in 1, …, `cutout` pixels."""
  height, width, _ = image.shape
  y, x, side = jax.random.uniform(key, (3,))
  side *= _length(strength.cutout, image)
  top, left = (jnp.floor(jnp.maximum(place - side / 2, 0.0)) for place in (y * height, x * width))
  size = jnp.where(side > 0, jnp.floor(side) + 1, 0.0)  # the official rectangle includes both of its ends
  return _hole(image, top, top + size, left, left + size)


def jpeg(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Compresses an image as JPEG with probability 1/2, at a quality uniform in `quality`."""
  uniform = jax.random.uniform(key, (2,))
  worst, best = strength.quality
  quality = jnp.clip(jnp.floor(between(uniform[1], worst, best + 1.0)), 1.0, best)
  return jnp.where(uniform[0] < 0.5, compressed(image, quality), image)


def _length(length: jax.Array | float, image: jax.Array) -> jax.Array:
  """Returns a length in pixels; see LENGTHS."""
  return jnp.where(length < 1, jnp.round(length * min(image.shape[:2])), length)


def _hole(image: jax.Array, top: jax.Array, bottom: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
  height, width, channels = image.shape
  y, x = jnp.arange(height)[:, None], jnp.arange(width)[None]
  hole = (y >= top) & (y < bottom) & (x >= left) & (x < right)  # [H, W]
  return jnp.where(hole[..., None], jnp.array(HOLE if channels == 3 else (sum(HOLE) / 3,)), image)


OPS = {
  op.__name__: op
  for op in (
    *(crop, reflect_crop, flip, rotate, jitter, resized_crop, cutout, random_cutout, rand_augment, auto_augment),
    *(signed_auto_augment, jpeg),
    *FEATURE_OPS,
  )
}


def check_ops(field: str, ops: Sequence[str]) -> tuple[str, ...]:
  """Returns `ops` as a tuple.

  Args:
    field: field of the config, for messages.
    ops: names of operations.

  Raises:
    UserError: `ops` is a text, or one of the names is unknown.
  """
  if isinstance(ops, str):
    raise UserError(f'{field}: expected a tuple of names such as ("crop", "flip"), found the text {ops!r}.')
  return tuple(check_choice(f'{field}[{i}]', op, OPS) for i, op in enumerate(ops))
