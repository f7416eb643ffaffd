"""Augmentation of a batch inside the jitted step: pure jnp, one key per row.

An op is `op(key, image [H, W, C], strength) -> image [H, W, C]` on float32 values in 0..255, and stays in that range.
`augment` runs a static tuple of op names over a batch. The key of a row comes from its row number, so that an image
gets the same view in whatever batch or position it appears.

Sources, and departures for the sake of static shapes, bounded cost and one compiled program for every strength:

* `crop`, `flip`: He et al. 2016 (arXiv:1512.03385, section 4.2). The border is raw 0 (black), as in torchvision's
  `RandomCrop(32, padding=4)`, because the published code whose numbers we compare with (DivideMix, ELR, SOP) pads so.
  FixMatch and airbench reflect instead.
* `rotate`: a uniform angle, bilinear, black outside.
* `jitter`, `resized_crop`: torchvision's `ColorJitter` and `RandomResizedCrop` (Szegedy et al. 2015,
  arXiv:1409.4842). Jitter keeps one order (brightness, contrast, saturation, hue) where torchvision shuffles it per
  image. A box too large for the image is clipped to it where torchvision draws again.
* `cutout`: DeVries and Taylor 2017 (arXiv:1708.04552): a square whose centre is any pixel, so that the border may cut
  it. It is mid-gray, as in FixMatch-pytorch; the paper's zero after normalisation means much the same.
  `random_cutout`: the same with a side drawn anew for each image, uniform from 0 to `cutout`, as in
  microsoft/Semi-supervised-learning (USB) and ProMix.
* `rand_augment`: Cubuk et al. 2020 (arXiv:1909.13719) as FixMatch uses it: the pool and ranges of Sohn et al. 2020
  (arXiv:2001.07685, appendix), a new level for every draw. USB and ProMix apply each of 3 draws and then
  `random_cutout` of up to half the side: the defaults here. google-research/fixmatch applies each of 2 draws with
  probability 1/2, then `cutout` of half the side.
  Departures: the level is a distance from the identity, continuous in 0..magnitude/10, so that magnitude 0 changes
  nothing and 10 spans the paper's ranges; colours come first, in the order drawn, then all geometry as ONE bilinear
  warp (there: one after another, nearest), because under `vmap` a switch computes every branch anyway.
* `auto_augment`: the 25 sub-policies of Cubuk et al. 2019 for CIFAR-10 (arXiv:1805.09501, table 7), with the amounts
  of the authors' code (tensorflow/models, carried on in google-research/fixmatch and shengliu66/SOP). Departures:
  translations are parts of the width, 1/32 for each of the code's pixels, and colours come before geometry as above.
  MrChenFeng/SSR_BMVC2022 has the same sub-policies with amounts of another code base (strengths of colours with a
  random sign, rotation to one side, gray borders).
* `jpeg`: every second image as it comes back from a JPEG file, of a quality drawn anew; see `jpeg.py`. The others stay
  as they are, so that a network sees both.
* `mixup_pairs`: Zhang et al. 2018 (arXiv:1710.09412).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from noisyjax.engine.jpeg import compressed
from noisyjax.system.errors import UserError, check_choice

BLACK = 0.0  # outside the image
GRAY = 127.0  # the hole of cutout

# FixMatch's pool: colours, then geometry, each with its amount at level 0 (where it changes nothing) and at level 1.
RANGES = {
  'identity': (0, 0),
  'autocontrast': (0, 0),
  'brightness': (1, 0.05),
  'color': (1, 0.05),
  'contrast': (1, 0.05),
  'equalize': (0, 0),
  'posterize': (8, 3),
  'sharpness': (1, 0.05),
  'solarize': (256, 0),
  'rotate': (0, 30),
  'shear_x': (0, 0.3),
  'shear_y': (0, 0.3),
  'translate_x': (0, 0.3),
  'translate_y': (0, 0.3),
}
POOL = tuple(RANGES)

# AutoAugment's sub-policies: two ops one after the other, each with its probability and its level in 0..9.
SUB_POLICIES = (
  (('invert', 0.1, 7), ('contrast', 0.2, 6)),
  (('rotate', 0.7, 2), ('translate_x', 0.3, 9)),
  (('sharpness', 0.8, 1), ('sharpness', 0.9, 3)),
  (('shear_y', 0.5, 8), ('translate_y', 0.7, 9)),
  (('autocontrast', 0.5, 8), ('equalize', 0.9, 2)),
  (('shear_y', 0.2, 7), ('posterize', 0.3, 7)),
  (('color', 0.4, 3), ('brightness', 0.6, 7)),
  (('sharpness', 0.3, 9), ('brightness', 0.7, 9)),
  (('equalize', 0.6, 5), ('equalize', 0.5, 1)),
  (('contrast', 0.6, 7), ('sharpness', 0.6, 5)),
  (('color', 0.7, 7), ('translate_x', 0.5, 8)),
  (('equalize', 0.3, 7), ('autocontrast', 0.4, 8)),
  (('translate_y', 0.4, 3), ('sharpness', 0.2, 6)),
  (('brightness', 0.9, 6), ('color', 0.2, 8)),
  (('solarize', 0.5, 2), ('invert', 0.0, 3)),
  (('equalize', 0.2, 0), ('autocontrast', 0.6, 0)),
  (('equalize', 0.2, 8), ('equalize', 0.6, 4)),
  (('color', 0.9, 9), ('equalize', 0.6, 6)),
  (('autocontrast', 0.8, 4), ('solarize', 0.2, 8)),
  (('brightness', 0.1, 3), ('color', 0.7, 0)),
  (('solarize', 0.4, 5), ('autocontrast', 0.9, 3)),
  (('translate_y', 0.9, 9), ('translate_y', 0.7, 9)),
  (('autocontrast', 0.9, 2), ('solarize', 0.8, 3)),
  (('equalize', 0.8, 8), ('invert', 0.1, 3)),
  (('translate_y', 0.7, 9), ('autocontrast', 0.9, 1)),
)

# What `check_strength` lets through. Beyond magnitude 10 the factors of the pool would turn negative.
BOUNDS = {
  'rotation': (0, 180),
  'brightness': (0, 10),
  'contrast': (0, 10),
  'saturation': (0, 10),
  'hue': (0, 0.5),
  'scale': (0, 1),
  'ratio': (0, 100),
  'magnitude': (0, 10),
  'probability': (0, 1),
  'pad': (0, 1000),
  'cutout': (0, 1000),
  'draws': (0, 20),
  'quality': (0, 100),
}
# Lengths: whole pixels, or below 1 a part of the image's shorter side.
LENGTHS = ('pad', 'cutout')


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Strength:
  """How far each op may go. Traced leaves, so that another strength runs the same program, but for `pad` and `draws`.

  Build it from a config with `check_strength`, which casts: an int in a float field would trace again.
  """

  rotation: float = 15.0  # rotate: degrees, uniform in ±rotation
  brightness: float = 0.4  # jitter: factor uniform in 1 ± brightness, not below 0
  contrast: float = 0.4
  saturation: float = 0.4
  hue: float = 0.1  # jitter: fraction of the colour circle, uniform in ±hue
  scale: tuple[float, float] = (0.2, 1.0)  # resized_crop: fraction of the area
  ratio: tuple[float, float] = (3 / 4, 4 / 3)  # resized_crop: width / height, log-uniform
  magnitude: float = 10.0  # rand_augment: 0..10
  probability: float = 1.0  # rand_augment: that a draw is applied
  quality: tuple[float, float] = (50.0, 95.0)  # jpeg: 1..100, the worst and the best
  cutout: float = 0.5  # cutout: side of the hole; random_cutout: its largest side. A length, see LENGTHS
  pad: float = dataclasses.field(default=0.125, metadata={'static': True})  # crop: the border's width, a length
  draws: int = dataclasses.field(default=3, metadata={'static': True})  # rand_augment: ops per image


def augment(ops: tuple[str, ...], strength: Strength, keys: jax.Array, images: jax.Array) -> jax.Array:
  """Runs `ops` in order over a batch.

  Args:
    ops: names checked by `check_ops`; static. The same op may appear twice: its key holds its position.
    strength: shared by all rows.
    keys: typed keys [B], one per row, e.g. `jax.vmap(jax.random.fold_in, (None, 0))(key, rows)`.
    images: float32 [B, H, W, C] in 0..255, C = 1 or 3.

  Returns:
    float32 [B, H, W, C] in 0..255.
  """
  for position, name in enumerate(ops):
    key = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, position)  # [B]
    images = jax.vmap(OPS[name], in_axes=(0, 0, None))(key, images, strength)
  return images


# --- ops: what a config may name ------------------------------------------------------------------


def crop(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """A window of the image's own size from the image with a black border of width `pad`."""
  pad = round(strength.pad * min(image.shape[:2])) if strength.pad < 1 else int(strength.pad)
  framed = jnp.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=BLACK)
  top, left = jax.random.randint(key, (2,), 0, 2 * pad + 1)
  # A slice per row beats index gathers and one-hot products on CPU (32x32x3: 0.4 against 0.5-0.8 and 2.3 ms per 256).
  return jax.lax.dynamic_slice(framed, (top, left, 0), image.shape)


def flip(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Left and right exchanged for every second image."""
  del strength
  return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def rotate(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """A rotation about the centre."""
  degrees = _between(jax.random.uniform(key), -strength.rotation, strength.rotation)
  return warp(image, rotation(degrees, *image.shape[:2]))


def jitter(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Brightness, contrast, saturation and hue, each by its own random amount."""
  uniform = jax.random.uniform(key, (4,))

  def factor(u: jax.Array, amount: jax.Array) -> jax.Array:
    return _between(u, jnp.maximum(0.0, 1.0 - amount), 1.0 + amount)

  image = adjust_brightness(image, factor(uniform[0], strength.brightness))
  image = adjust_contrast(image, factor(uniform[1], strength.contrast))
  image = adjust_saturation(image, factor(uniform[2], strength.saturation))
  return adjust_hue(image, _between(uniform[3], -strength.hue, strength.hue))


def resized_crop(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """A box of whole pixels with random area and shape, stretched bilinearly to H x W."""
  height, width, _ = image.shape
  uniform = jax.random.uniform(key, (4,))
  area = height * width * _between(uniform[0], *strength.scale)
  ratio = jnp.exp(_between(uniform[1], jnp.log(strength.ratio[0]), jnp.log(strength.ratio[1])))
  tall = jnp.clip(jnp.round(jnp.sqrt(area / ratio)), 1.0, height)
  wide = jnp.clip(jnp.round(jnp.sqrt(area * ratio)), 1.0, width)
  top = jnp.floor(uniform[2] * (height - tall + 1.0))
  left = jnp.floor(uniform[3] * (width - wide + 1.0))

  def line(size: int, start: jax.Array, length: jax.Array) -> jax.Array:  # where each output pixel looks, in the box
    return start + jnp.clip((jnp.arange(size) + 0.5) * (length / size) - 0.5, 0.0, length - 1.0)

  return sample(image, line(height, top, tall)[:, None], line(width, left, wide)[None])


def cutout(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """A gray square of side `cutout` around a random pixel."""
  return _hole(key, image, _length(strength.cutout, image))


def random_cutout(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """A gray square of a side uniform in 0..`cutout` around a random pixel."""
  side_key, place_key = jax.random.split(key)
  longest = _length(strength.cutout, image)
  return _hole(place_key, image, jnp.floor(jax.random.uniform(side_key) * (longest + 1.0)))


def rand_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """`draws` ops of the pool, each applied with `probability`."""
  uniform = jax.random.uniform(key, (strength.draws, 4))
  # autocontrast and equalize know no level: at magnitude 0 nothing is applied
  applied = (uniform[:, 1] < strength.probability) & (strength.magnitude > 0)
  choice = jnp.where(applied, jnp.floor(uniform[:, 2] * len(POOL)).astype(jnp.int32), POOL.index('identity'))
  level = uniform[:, 0] * (strength.magnitude / 10.0)
  lowest, highest = jnp.array(list(RANGES.values()), jnp.float32)[choice].T
  return _one_after_another(image, choice, _between(level, lowest, highest), uniform[:, 3])


def auto_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """One of the 25 sub-policies for CIFAR-10; its two ops are applied with probabilities of their own."""
  del strength
  uniform = jax.random.uniform(key, (5,))
  policy = jnp.floor(uniform[0] * len(SUB_POLICIES)).astype(jnp.int32)
  numbers = jnp.array([[_auto_augment_op(*op) for op in pair] for pair in SUB_POLICIES], jnp.float32)  # [25, 2, 3]
  choice, probability, amount = numbers[policy].T
  choice = jnp.where(uniform[1:3] < probability, choice.astype(jnp.int32), POOL.index('identity'))
  return _one_after_another(image, choice, amount, uniform[3:])


def jpeg(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Every second image stored as JPEG once, at a quality uniform in `quality`."""
  uniform = jax.random.uniform(key, (2,))
  worst, best = strength.quality
  quality = jnp.clip(jnp.floor(_between(uniform[1], worst, best + 1.0)), 1.0, best)
  return jnp.where(uniform[0] < 0.5, compressed(image, quality), image)


OPS = {
  op.__name__: op
  for op in (crop, flip, rotate, jitter, resized_crop, cutout, random_cutout, rand_augment, auto_augment, jpeg)
}


def _between(uniform: jax.Array, lo: jax.Array, hi: jax.Array) -> jax.Array:
  return lo + uniform * (hi - lo)  # exactly lo where the two are equal


def _length(length: jax.Array, image: jax.Array) -> jax.Array:
  """Returns pixels; see LENGTHS."""
  return jnp.where(length < 1, jnp.round(length * min(image.shape[:2])), length)


def _hole(key: jax.Array, image: jax.Array, size: jax.Array) -> jax.Array:
  height, width, _ = image.shape
  top, left = jax.random.randint(key, (2,), 0, jnp.array([height, width])) - size // 2
  y, x = jnp.arange(height)[:, None], jnp.arange(width)[None]
  hole = (y >= top) & (y < top + size) & (x >= left) & (x < left + size)  # [H, W]
  return jnp.where(hole[..., None], GRAY, image)


# --- the pool of RandAugment and AutoAugment ------------------------------------------------------


def _auto_augment_op(name: str, probability: float, level: int) -> tuple[int, float, float]:
  """Returns index into `POOL`, probability and amount of an op of `SUB_POLICIES`."""
  if name == 'invert':
    name, amount = 'solarize', 0  # every value reaches 0
  else:
    amount = {
      'rotate': 3 * level,
      'shear_y': 0.03 * level,
      'translate_x': level / 32,
      'translate_y': level / 32,
      'solarize': 256 - int(25.6 * level),
      'posterize': 4 - int(0.4 * level),
    }.get(name, 0.1 + 0.18 * level)
  return POOL.index(name), probability, amount


def _one_after_another(image: jax.Array, choice: jax.Array, amount: jax.Array, sign: jax.Array) -> jax.Array:
  """Ops of the pool, colours first, then all geometry in one warp.

  Args:
    image: [H, W, C]. choice: indices into `POOL` [D]. amount: [D].
    sign: uniform [D]; from 1/2 on geometry goes the other way.
  """
  height, width, _ = image.shape
  matrix = jnp.eye(3)
  signed = jnp.where(sign < 0.5, amount, -amount)
  for which, colour, move in zip(choice, amount, signed):
    image = recolor(image, which, colour)
    matrix = jnp.matmul(matrix, geometry(which, move, height, width), precision='highest')
  return warp(image, matrix)


def recolor(image: jax.Array, choice: jax.Array, amount: jax.Array) -> jax.Array:
  """The pool's colour op number `choice` (an index into `POOL`); geometry leaves the image alone.

  `amount` is a factor (1 changes nothing), bits that posterize keeps (rounded up), or the threshold of solarize.
  """
  # First and apart: a table look-up fused with the candidates below would make all of them slow on CPU.
  image = jnp.where(choice == POOL.index('equalize'), equalize(image), image)
  candidates = {
    'autocontrast': autocontrast(image),
    'brightness': adjust_brightness(image, amount),
    'color': adjust_saturation(image, amount),
    'contrast': adjust_contrast(image, amount),
    'posterize': posterize(image, jnp.clip(jnp.ceil(amount), 1, 8).astype(jnp.int32)),
    'sharpness': adjust_sharpness(image, amount),
    'solarize': solarize(image, amount),
  }
  return jnp.select([choice == POOL.index(name) for name in candidates], list(candidates.values()), image)


def geometry(choice: jax.Array, amount: jax.Array, height: int, width: int) -> jax.Array:
  """The matrix [3, 3] of the pool's geometric op number `choice`; the identity for colours.

  `amount` is in degrees, a shear's coefficient, or a part of the width or height.
  """

  def only(name: str, value: jax.Array) -> jax.Array:
    return jnp.where(choice == POOL.index(name), value, 0.0)

  affine = jnp.eye(3)
  affine = affine.at[0, 1].set(only('shear_x', amount)).at[1, 0].set(only('shear_y', amount))
  affine = affine.at[0, 2].set(only('translate_x', amount * width))
  affine = affine.at[1, 2].set(only('translate_y', amount * height))
  turn = rotation(only('rotate', amount), height, width)
  return jnp.matmul(affine, turn, precision='highest')  # at most one of the two is not the identity


# --- colours: image [H, W, C] -> image ------------------------------------------------------------


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


# --- geometry -------------------------------------------------------------------------------------


def rotation(degrees: jax.Array, height: int, width: int) -> jax.Array:
  """The matrix [3, 3] for `warp` of a turn about the centre, counter-clockwise as in PIL."""
  angle = jnp.deg2rad(degrees)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  x, y = width / 2, height / 2
  return jnp.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0.0, 0.0, 1.0]])


def warp(image: jax.Array, matrix: jax.Array) -> jax.Array:
  """Output pixel p shows input point `matrix @ p`, p = (x, y, 1) with pixel centres at halves, as in PIL's AFFINE."""
  height, width, _ = image.shape
  y, x = jnp.arange(height)[:, None] + 0.5, jnp.arange(width)[None] + 0.5
  (xx, xy, x0), (yx, yy, y0), _ = matrix
  return sample(image, yx * x + yy * y + y0 - 0.5, xx * x + xy * y + x0 - 0.5)


def sample(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
  """The image at points (y, x), in pixels from the first pixel's centre: bilinear, black outside.

  `y` and `x` broadcast to [H, W].
  """
  height, width, channels = image.shape
  framed = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=BLACK).reshape(-1, channels)
  y, x = jnp.clip(y + 1.0, 0.0, height + 1.0), jnp.clip(x + 1.0, 0.0, width + 1.0)
  top, left = jnp.minimum(jnp.floor(y), height), jnp.minimum(jnp.floor(x), width)
  down, right = (y - top)[..., None], (x - left)[..., None]  # [H, W, 1] in 0..1
  corner = top.astype(jnp.int32) * (width + 2) + left.astype(jnp.int32)  # [H, W]: each point's upper left neighbour

  def at(offset: int) -> jax.Array:
    return framed.at[corner + offset].get(mode='promise_in_bounds')  # [H, W, C]

  upper = at(0) * (1.0 - right) + at(1) * right
  lower = at(width + 2) * (1.0 - right) + at(width + 3) * right
  return jnp.clip(upper * (1.0 - down) + lower * down, 0.0, 255.0)


# --- mixup ----------------------------------------------------------------------------------------


def mixup_pairs(key: jax.Array, alpha: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """Who is mixed with whom, and how much of the first is kept.

  Args:
    key: one typed key.
    alpha: traced float >= 0; 0 means no mixing (lam = 1).
    batch: static number of rows.

  Returns:
    lam, a float32 scalar from Beta(alpha, alpha), and partner, int32 [batch], a permutation:
    `x = lam * x + (1 - lam) * x[partner]` and the same for the targets.
  """
  lam_key, partner_key = jax.random.split(key)
  alpha = jnp.asarray(alpha, jnp.float32)
  safe = jnp.where(alpha > 0, alpha, 1.0)
  lam = jnp.where(alpha > 0, jax.random.beta(lam_key, safe, safe, dtype=jnp.float32), 1.0)
  return lam, jax.random.permutation(partner_key, batch).astype(jnp.int32)


# --- what a config may hold -----------------------------------------------------------------------


def check_ops(field: str, ops: Sequence[str]) -> tuple[str, ...]:
  """Returns `ops` as a tuple of known names.

  Raises:
    UserError: naming `field`, the nearest name and all names.
  """
  if isinstance(ops, str):
    raise UserError(f'{field}: expected a tuple of names such as ("crop", "flip"), found the text {ops!r}.')
  return tuple(check_choice(f'{field}[{i}]', op, OPS) for i, op in enumerate(ops))


def check_strength(field: str, values: Mapping[str, Any]) -> Strength:
  """Builds a `Strength` with every number cast to its field's type; fields left out keep their defaults.

  Raises:
    UserError: naming the field, the value and the range, for an unknown field or a value out of range.
  """
  defaults = Strength()
  checked = {}
  for name, value in values.items():
    check_choice(field, name, BOUNDS)
    kind = type(getattr(defaults, name))
    lo, hi = BOUNDS[name]
    try:
      checked[name] = _cast(kind, value, lo, hi)
      if name in LENGTHS and checked[name] >= 1 and checked[name] % 1:
        raise ValueError
    except (TypeError, ValueError, OverflowError):
      noun = {float: 'a number', int: 'a whole number', tuple: 'two numbers, the smaller first,'}[kind]
      noun = "a whole number of pixels or, below 1, a part of the image's side," if name in LENGTHS else noun
      raise UserError(f'{field}.{name}: expected {noun} from {lo} to {hi}, found {value!r}.') from None
  return dataclasses.replace(defaults, **checked)


def _cast(kind: type, value: Any, lo: float, hi: float) -> float | int | tuple[float, float]:
  if kind is tuple:
    first, second = (float(part) for part in value)
    if not lo < first <= second <= hi:  # an empty box or a shape without width is no view
      raise ValueError
    return first, second
  number = kind(value)
  if number != float(value) or not lo <= number <= hi:
    raise ValueError
  return number
