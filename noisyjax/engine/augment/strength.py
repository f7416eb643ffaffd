"""How far each augmentation may go: the numbers of a config, and their bounds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from noisyjax.system.errors import UserError, check_choice

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


def between(uniform: jax.Array, lo: jax.Array | float, hi: jax.Array | float) -> jax.Array:
  """Scales a number in 0..1 to lo..hi; the result is exactly lo where the two are equal."""
  return lo + uniform * (hi - lo)


def check_strength(field: str, values: Mapping[str, Any]) -> Strength:
  """Builds a `Strength` with every number cast to its field's type; fields left out keep their defaults.

  Raises:
    UserError: naming the field, the value and the range, for an unknown field or a value out of range.
  """
  defaults = Strength()
  checked: dict[str, Any] = {}
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
