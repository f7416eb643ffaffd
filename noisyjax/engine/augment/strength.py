"""The strengths of the augmentations: numbers of the config, and their bounds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from noisyjax.system.errors import UserError, check_choice

# Ranges that `check_strength` accepts. Above magnitude 10 some factors of the pool would be negative.
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
# Lengths: whole pixels or, if below 1, a fraction of the image's shorter side.
LENGTHS = ('pad', 'cutout')


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Strength:
  """The strength of each operation.

  All fields but `pad` and `draws` are traced, so that a new strength runs the same program. Build it with
  `check_strength`, which casts the values: an int in a float field would trace the program again.

  Attributes:
    rotation: rotate: maximum angle in degrees; the angle is uniform in ±rotation.
    brightness: jitter: the factor is uniform in 1 ± brightness, but at least 0.
    contrast: jitter: likewise.
    saturation: jitter: likewise.
    hue: jitter: the shift is uniform in ±hue, as a fraction of the colour circle.
    scale: resized_crop: minimum and maximum area, as a fraction of the image's.
    ratio: resized_crop: minimum and maximum of width / height, log-uniform.
    magnitude: rand_augment: maximum level, in 0..10.
    probability: rand_augment: probability that a draw is applied.
    quality: jpeg: minimum and maximum quality, in 1..100.
    cutout: cutout: side of the square; random_cutout: maximum side. A length, see LENGTHS.
    pad: crop, reflect_crop: width of the border. A length, see LENGTHS.
    draws: rand_augment: operations per image.
  """

  rotation: float = 15.0
  brightness: float = 0.4
  contrast: float = 0.4
  saturation: float = 0.4
  hue: float = 0.1
  scale: tuple[float, float] = (0.2, 1.0)
  ratio: tuple[float, float] = (3 / 4, 4 / 3)
  magnitude: float = 10.0
  probability: float = 1.0
  quality: tuple[float, float] = (50.0, 95.0)
  cutout: float = 0.5
  pad: float = dataclasses.field(default=0.125, metadata={'static': True})
  draws: int = dataclasses.field(default=3, metadata={'static': True})


def between(uniform: jax.Array, lo: jax.Array | float, hi: jax.Array | float) -> jax.Array:
  """Scales a number from 0..1 to lo..hi. The result is exactly lo if lo = hi."""
  return lo + uniform * (hi - lo)


def check_strength(field: str, values: Mapping[str, Any]) -> Strength:
  """Returns a `Strength` with every number cast to the type of its field.

  Args:
    field: name of the table in the config, for messages.
    values: field → value; missing fields get their defaults.

  Raises:
    UserError: a field is unknown, or a value is out of range or of the wrong type.
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
      noun = "a whole number of pixels or, below 1, a fraction of the image's side," if name in LENGTHS else noun
      raise UserError(f'{field}.{name}: expected {noun} from {lo} to {hi}, found {value!r}.') from None
  return dataclasses.replace(defaults, **checked)


def _cast(kind: type, value: Any, lo: float, hi: float) -> float | int | tuple[float, float]:
  if kind is tuple:
    first, second = (float(part) for part in value)
    if not lo < first <= second <= hi:  # a scale or a ratio of 0 would be an empty box
      raise ValueError
    return first, second
  number = kind(value)
  if number != float(value) or not lo <= number <= hi:
    raise ValueError
  return number
