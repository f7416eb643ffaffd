"""The fields of a strategy: which ones are traced, how they are cast, and their valid ranges.

A strategy is a pytree. Traced fields are its leaves: a new value does not compile the step again. All other fields are
static, part of the tree's structure: a new value compiles the step again.
"""

import dataclasses
import functools
import numbers
from collections.abc import Iterable
from typing import Annotated, Any, get_type_hints

import jax
import numpy as np

from noisyjax.system.errors import UserError

Traced = Annotated[float, 'traced']  # the annotation of a traced field; to a type checker it is a float


@functools.cache
def traced_fields(cls: type) -> tuple[str, ...]:
  """Returns the names of a strategy's traced fields, in order of definition.

  Raises:
    UserError: a field has the annotation `float`, which does not say whether it is traced or static.
  """
  hints, fields = get_type_hints(cls, include_extras=True), [f.name for f in dataclasses.fields(cls)]
  plain = [name for name in fields if hints[name] is float]
  if plain:
    raise UserError(
      f'{_name(cls)}.{plain[0]}: found the annotation float; expected Traced from noisyjax.engine.strategy, a number '
      'whose new values do not compile the step again. Fields of all other types, such as int, are static.'
    )
  return tuple(name for name in fields if hints[name] == Traced)


def declare(cls: type) -> None:
  """Makes a class a frozen dataclass and a pytree whose leaves are its traced fields."""
  dataclasses.dataclass(frozen=True)(cls)
  traced = traced_fields(cls)
  static = [f.name for f in dataclasses.fields(cls) if f.name not in traced]
  # Not `register_dataclass`: in jaxlib 0.10 and 0.11 two such classes with equal fields have tree structures that
  # compare equal and hash differently, so that jit's cache occasionally confuses one strategy with another.
  jax.tree_util.register_pytree_node(
    cls,
    lambda s: ([getattr(s, n) for n in traced], tuple(getattr(s, n) for n in static)),
    lambda values, leaves: cls(**dict(zip(static, values)), **dict(zip(traced, leaves))),
  )


def cast(cls: type, values: dict[str, Any], unit_interval: Iterable[str], estimable: Iterable[str]) -> dict[str, Any]:
  """Returns a value for every field, with traced ones cast to float32 scalars so that their type never changes.

  Args:
    cls: class of the strategy.
    values: field → value; missing fields get their defaults.
    unit_interval: names of fields that must be from 0 to 1. All other numbers must be at least 0.
    estimable: names of fields that must be from 0 to 1, or negative to have the value estimated.

  Raises:
    UserError: a number is out of range.
  """
  out = {}
  for field in dataclasses.fields(cls):
    value = values.get(field.name, field.default)
    if isinstance(value, numbers.Real):
      _check_range(f'{_name(cls)}.{field.name}', value, field.name in unit_interval, field.name in estimable)
    out[field.name] = np.float32(value) if field.name in traced_fields(cls) else value
  return out


def _check_range(name: str, value: Any, unit_interval: bool, estimable: bool) -> None:
  bounded = unit_interval or estimable
  if (0 <= value <= 1 if bounded else value >= 0) or (estimable and value < 0):
    return
  expected = 'from 0 to 1' if bounded else 'of at least 0'
  also = ', or a negative number to have it estimated' if estimable else ''
  raise UserError(f'{name}: expected a number {expected}{also}; found {value}.')


def _name(cls: type) -> str:
  """Returns the config field of a strategy, such as "strategy.gce"."""
  return f'strategy.{cls.__module__.rpartition(".")[2]}'
