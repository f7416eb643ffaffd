"""RandAugment and AutoAugment: random operations from one pool, each on the result of the one before.

* `rand_augment`: Cubuk et al. 2020 (arXiv:1909.13719) in the variant of microsoft/Semi-supervised-learning (USB) and
  ProMix, whose lists and ranges are the same: 3 draws from 14 operations, each at a random level, all of them applied,
  then `random_cutout` of up to half the side. google-research/fixmatch applies each of 2 draws with probability 1/2,
  then `cutout` of half the side. The magnitude, which that code ignores, is ours: it scales the distance of each
  amount from the identity, so that 0 changes nothing and 10 covers the official ranges.
* `auto_augment`: the 25 sub-policies of Cubuk et al. 2019 for CIFAR-10 (arXiv:1805.09501, table 7), with the amounts of
  shengliu66/SOP. Departure: translations are fractions of the width, 1/32 for each pixel of that code.
* `signed_auto_augment`: the sub-policies with the amounts of MrChenFeng/SSR_BMVC2022, which are those of
  DeepVoltaire/AutoAugment: colour strengths with a random sign, rotation in one direction, gray borders. Departure:
  shears take the nearest pixel; that code interpolates them bicubically.

As in all three, pixels are moved to the nearest one, and borders are black or gray. Departure: values are not rounded
to integers between the operations.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from noisyjax.engine.augment import color
from noisyjax.engine.augment.geometry import BLACK, move, rotation
from noisyjax.engine.augment.strength import Strength, between

# The pool, colours before geometry: the amount that changes nothing, and the official range of amounts. Geometric
# amounts get a random sign.
RANGES = {
  'identity': (0, 0, 0),
  'autocontrast': (0, 0, 0),
  'brightness': (1, 0.95, 0.05),
  'color': (1, 0.95, 0.05),
  'contrast': (1, 0.95, 0.05),
  'equalize': (0, 0, 0),
  'posterize': (8, 8, 4),
  'sharpness': (1, 0.95, 0.05),
  'solarize': (256, 256, 0),
  'rotate': (0, 0, 30),
  'shear_x': (0, 0, 0.3),
  'shear_y': (0, 0, 0.3),
  'translate_x': (0, 0, 0.3),
  'translate_y': (0, 0, 0.3),
}
POOL = tuple(RANGES)
MOVES = POOL.index('rotate')  # the first geometric operation
GRAY = 128.0  # borders of `signed_auto_augment`
Op = tuple[str, float, int]  # name, probability, level

# AutoAugment's sub-policies: two operations in sequence, each with its probability and its level in 0..9. SOP has level
# 6 where the paper and SSR have 8 ("color" after "brightness"), and SSR probability 0.8 for the second "equalize" where
# the paper and SOP have 0.6.
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
  (('brightness', 0.9, 6), ('color', 0.2, 6)),
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

# The SSR code differs from `SUB_POLICIES` in two of them.
SIGNED_SUB_POLICIES = tuple(
  {
    (('brightness', 0.9, 6), ('color', 0.2, 6)): (('brightness', 0.9, 6), ('color', 0.2, 8)),
    (('equalize', 0.2, 8), ('equalize', 0.6, 4)): (('equalize', 0.2, 8), ('equalize', 0.8, 4)),
  }.get(pair, pair)
  for pair in SUB_POLICIES
)


def rand_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Draws `draws` operations from the pool and applies each with `probability`."""
  uniform = jax.random.uniform(key, (strength.draws, 4))
  # autocontrast and equalize have no level, so magnitude 0 must turn them off explicitly
  applied = (uniform[:, 1] < strength.probability) & (strength.magnitude > 0)
  choice = jnp.where(applied, jnp.floor(uniform[:, 2] * len(POOL)).astype(jnp.int32), POOL.index('identity'))
  still, nearest, farthest = jnp.array(list(RANGES.values()), jnp.float32)[choice].T
  amount = still + (strength.magnitude / 10.0) * (between(uniform[:, 0], nearest, farthest) - still)
  amount = jnp.where((choice >= MOVES) & (uniform[:, 3] >= 0.5), -amount, amount)
  return _one_after_another(image, choice, amount, BLACK)


def auto_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Draws one of the 25 sub-policies for CIFAR-10 and applies each of its two operations with its own probability."""
  del strength
  return _one_after_another(image, *_drawn(key, SUB_POLICIES, _amounts), BLACK)


def signed_auto_augment(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Does what `auto_augment` does, with the amounts of MrChenFeng/SSR_BMVC2022."""
  del strength
  return _one_after_another(image, *_drawn(key, SIGNED_SUB_POLICIES, _signed_amounts), GRAY)


def _drawn(
  key: jax.Array, policies: Sequence[Sequence[Op]], amounts: Callable[[str, int], tuple[float, float]]
) -> tuple[jax.Array, jax.Array]:
  """Draws a sub-policy, and which of its operations are applied.

  Args:
    key: key of the image.
    policies: sub-policies, as in `SUB_POLICIES`.
    amounts: name, level → two amounts, one of which is drawn.

  Returns:
    int [2], indices into `POOL`, of the identity where an operation is not applied; and its amounts [2].
  """
  uniform = jax.random.uniform(key, (5,))
  policy = jnp.floor(uniform[0] * len(policies)).astype(jnp.int32)
  pool = lambda name: POOL.index({'invert': 'solarize'}.get(name, name))  # a threshold of 0 inverts all values
  row = lambda name, probability, level: (pool(name), probability, *amounts(name, level))
  numbers = jnp.array([[row(*op) for op in pair] for pair in policies], jnp.float32)  # [25, 2, 4]
  choice, probability, one, other = numbers[policy].T
  choice = jnp.where(uniform[1:3] < probability, choice.astype(jnp.int32), POOL.index('identity'))
  return choice, jnp.where(uniform[3:] < 0.5, one, other)


def _amounts(name: str, level: int) -> tuple[float, float]:
  """Returns the two amounts, equally likely, of an operation in the code of SOP."""
  moves = {'rotate': 3 * level, 'shear_y': 0.03 * level, 'translate_x': level / 32, 'translate_y': level / 32}
  if name in moves:
    return moves[name], -moves[name]
  other = {'invert': 0, 'solarize': 256 - int(25.6 * level), 'posterize': 4 - int(0.4 * level)}
  return (other.get(name, 0.1 + 0.18 * level),) * 2


def _signed_amounts(name: str, level: int) -> tuple[float, float]:
  """Returns the two amounts, equally likely, of an operation in the code of SSR."""
  part = level / 9
  moves = {'shear_y': 0.3 * part, 'translate_x': 150 / 331 * part, 'translate_y': 150 / 331 * part}
  if name in moves:
    return moves[name], -moves[name]
  other = {'rotate': 30 * part, 'invert': 0, 'solarize': 256 * (1 - part), 'posterize': round(8 - 4 * part)}
  return (other[name],) * 2 if name in other else (1 + 0.9 * part, 1 - 0.9 * part)


def _one_after_another(image: jax.Array, choice: jax.Array, amount: jax.Array, border: float) -> jax.Array:
  """Applies operations of the pool.

  Args:
    image: [H, W, C].
    choice: int [D], indices into `POOL`.
    amount: [D], amounts of the operations.
    border: value of pixels from outside the image.
  """
  height, width, _ = image.shape
  for which, much in zip(choice, amount):
    image = recolor(image, which, much)
    image = move(image, geometry(which, much, height, width), border)
  return image


def recolor(image: jax.Array, choice: jax.Array, amount: jax.Array) -> jax.Array:
  """Applies a colour operation of the pool; returns the image unchanged for a geometric one.

  Args:
    image: [H, W, C].
    choice: index into `POOL`.
    amount: a factor (1 is the identity), the number of bits of posterize (rounded down) or the threshold of solarize.
  """
  # Separate from the candidates below: on CPU, fusing this table look-up with them would slow all of them down.
  image = jnp.where(choice == POOL.index('equalize'), color.equalize(image), image)
  candidates = {
    'autocontrast': color.autocontrast(image),
    'brightness': color.adjust_brightness(image, amount),
    'color': color.adjust_saturation(image, amount),
    'contrast': color.adjust_contrast(image, amount),
    'posterize': color.posterize(image, jnp.clip(jnp.floor(amount), 1, 8).astype(jnp.int32)),
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
