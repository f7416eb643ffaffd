"""RandAugment and AutoAugment: random operations from one pool. Colour operations come first, then one warp.

* `rand_augment`: Cubuk et al. 2020 (arXiv:1909.13719) in the variant of FixMatch: the pool and the ranges of Sohn et
  al. 2020 (arXiv:2001.07685, appendix), with a random level for each draw. The defaults are those of USB and ProMix: 3
  draws, all of them applied, then `random_cutout` of up to half the side. google-research/fixmatch applies each of 2
  draws with probability 1/2, then `cutout` of half the side.
  Departures: the level is a distance from the identity, continuous in 0..magnitude/10, so that magnitude 0 changes
  nothing and magnitude 10 covers the paper's ranges. Colour operations come first, in the order of the draws, and all
  geometric operations are combined into one bilinear warp, because under `vmap` a switch computes all branches anyway;
  in the original code operations follow one another, with nearest-neighbour interpolation.
* `auto_augment`: the 25 sub-policies of Cubuk et al. 2019 for CIFAR-10 (arXiv:1805.09501, table 7), with the amounts of
  the authors' code (tensorflow/models, later google-research/fixmatch and shengliu66/SOP). Departures: translations are
  fractions of the width, 1/32 for each pixel of that code, and colours come before geometry as above.
  MrChenFeng/SSR_BMVC2022 has the same sub-policies with the amounts of another code base (colour strengths with a
  random sign, rotation in one direction, gray borders).
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.augment import color
from noisyjax.engine.augment.geometry import rotation, warp
from noisyjax.engine.augment.strength import Strength, between

# FixMatch's pool, colours before geometry: the amount of each operation at level 0 (the identity) and at level 1.
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

# AutoAugment's sub-policies: two operations in sequence, each with its probability and its level in 0..9.
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


def rand_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Draws `draws` operations from the pool and applies each with `probability`."""
  uniform = jax.random.uniform(key, (strength.draws, 4))
  # autocontrast and equalize have no level, so magnitude 0 must turn them off explicitly
  applied = (uniform[:, 1] < strength.probability) & (strength.magnitude > 0)
  choice = jnp.where(applied, jnp.floor(uniform[:, 2] * len(POOL)).astype(jnp.int32), POOL.index('identity'))
  level = uniform[:, 0] * (strength.magnitude / 10.0)
  lowest, highest = jnp.array(list(RANGES.values()), jnp.float32)[choice].T
  return _one_after_another(image, choice, between(level, lowest, highest), uniform[:, 3])


def auto_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Draws one of the 25 sub-policies for CIFAR-10 and applies each of its two operations with its own probability."""
  del strength
  uniform = jax.random.uniform(key, (5,))
  policy = jnp.floor(uniform[0] * len(SUB_POLICIES)).astype(jnp.int32)
  numbers = jnp.array([[_auto_augment_op(*op) for op in pair] for pair in SUB_POLICIES], jnp.float32)  # [25, 2, 3]
  choice, probability, amount = numbers[policy].T
  choice = jnp.where(uniform[1:3] < probability, choice.astype(jnp.int32), POOL.index('identity'))
  return _one_after_another(image, choice, amount, uniform[3:])


def _auto_augment_op(name: str, probability: float, level: int) -> tuple[int, float, float]:
  """Returns the index in `POOL`, the probability and the amount of an operation of `SUB_POLICIES`."""
  if name == 'invert':
    name, amount = 'solarize', 0  # a threshold of 0 inverts all values
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
  """Applies operations of the pool: colours first, then all geometry in one warp.

  Args:
    image: [H, W, C].
    choice: int [D], indices into `POOL`.
    amount: [D], amounts of the operations.
    sign: [D], uniform in 0..1; from 1/2 on the amount of a geometric operation is negated.
  """
  height, width, _ = image.shape
  matrix = jnp.eye(3)
  signed = jnp.where(sign < 0.5, amount, -amount)
  for which, colour, move in zip(choice, amount, signed):
    image = recolor(image, which, colour)
    matrix = jnp.matmul(matrix, geometry(which, move, height, width), precision='highest')
  return warp(image, matrix)


def recolor(image: jax.Array, choice: jax.Array, amount: jax.Array) -> jax.Array:
  """Applies a colour operation of the pool; returns the image unchanged for a geometric one.

  Args:
    image: [H, W, C].
    choice: index into `POOL`.
    amount: a factor (1 is the identity), the number of bits of posterize (rounded up) or the threshold of solarize.
  """
  # Separate from the candidates below: on CPU, fusing this table look-up with them would slow all of them down.
  image = jnp.where(choice == POOL.index('equalize'), color.equalize(image), image)
  candidates = {
    'autocontrast': color.autocontrast(image),
    'brightness': color.adjust_brightness(image, amount),
    'color': color.adjust_saturation(image, amount),
    'contrast': color.adjust_contrast(image, amount),
    'posterize': color.posterize(image, jnp.clip(jnp.ceil(amount), 1, 8).astype(jnp.int32)),
    'sharpness': color.adjust_sharpness(image, amount),
    'solarize': color.solarize(image, amount),
  }
  return jnp.select([choice == POOL.index(name) for name in candidates], list(candidates.values()), image)


def geometry(choice: jax.Array, amount: jax.Array, height: int, width: int) -> jax.Array:
  """Returns the matrix [3, 3] of a geometric operation of the pool; the identity for a colour operation.

  Args:
    choice: index into `POOL`.
    amount: degrees of a rotation, coefficient of a shear, or fraction of the width or height for a translation.
    height: height of the image.
    width: width of the image.
  """

  def only(name: str, value: jax.Array) -> jax.Array:
    return jnp.where(choice == POOL.index(name), value, 0.0)

  affine = jnp.eye(3)
  affine = affine.at[0, 1].set(only('shear_x', amount)).at[1, 0].set(only('shear_y', amount))
  affine = affine.at[0, 2].set(only('translate_x', amount * width))
  affine = affine.at[1, 2].set(only('translate_y', amount * height))
  turn = rotation(only('rotate', amount), height, width)
  return jnp.matmul(affine, turn, precision='highest')  # at least one of the two is the identity
