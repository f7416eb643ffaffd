"""A strategy's fields: which are traced, how they are cast, and which values they may hold.

Traced fields are the leaves of the strategy's tree; a new value does not compile the step again. All other fields are
static: part of the tree's structure, so that a new value compiles it again.
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
  """Returns the names of a strategy's traced fields, in their order.

  Raises:
    UserError: a field that is annotated `float`, which says neither that it is traced nor that it is static.
  """
  hints, fields = get_type_hints(cls, include_extras=True), [f.name for f in dataclasses.fields(cls)]
  plain = [name for name in fields if hints[name] is float]
  if plain:
    raise UserError(
      f'{_name(cls)}.{plain[0]}: found the annotation float; expected Traced (of noisyjax.engine.strategy), a number '
      'that may change without compiling anew. Fields of all other types, such as int, are static.'
    )
  return tuple(name for name in fields if hints[name] == Traced)


def declare(cls: type) -> None:
  """Makes a class a frozen dataclass and a JAX tree whose leaves are the traced fields."""
  dataclasses.dataclass(frozen=True)(cls)
  traced = traced_fields(cls)
  static = [f.name for f in dataclasses.fields(cls) if f.name not in traced]
  # Not register_dataclass: in jaxlib 0.10 and 0.11 two of its classes with equal fields make equal tree structures of
  # different hashes, so that jit's cache now and then takes one strategy for another.
  jax.tree_util.register_pytree_node(
    cls,
    lambda s: ([getattr(s, n) for n in traced], tuple(getattr(s, n) for n in static)),
    lambda values, leaves: cls(**dict(zip(static, values)), **dict(zip(traced, leaves))),
  )


def cast(cls: type, values: dict[str, Any], unit_interval: Iterable[str], estimable: Iterable[str]) -> dict[str, Any]:
  """Returns a value for every field: traced ones as float32 scalars, so that a new value has the type of the old one.

  Args:
    cls: the strategy.
    values: field → value; fields that are missing have their defaults.
    unit_interval: fields from 0 to 1. All other numbers are at least 0.
    estimable: fields from 0 to 1, or below 0.
  Raises:
    UserError: a number that is out of range.
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
  also = ', or one below 0 to have it estimated' if estimable else ''
  raise UserError(f'{name}: expected a number {expected}{also}; found {value}.')


def _name(cls: type) -> str:
  """Returns the name of a strategy's table in the config."""
  return f'strategy.{cls.__module__.rpartition(".")[2]}'
