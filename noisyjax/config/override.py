"""Sets fields of a config by dotted name, with values converted to the type of the field."""

import difflib
import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config import fields
from noisyjax.config.flat import flat
from noisyjax.config.plugin_fields import PLUGINS, adopted
from noisyjax.system.errors import UserError, listed


def override(config: ConfigDict, values: dict[str, Any], where: str, beside: Path | None = None) -> None:
  """Sets fields of a config and loads the plug-ins that are named by path.

  Args:
    config: changed in place.
    values: values by dotted name; text is converted to the type of the field.
    where: source of the values, for messages.
    beside: second folder in which to look for plug-ins, see `adopt`.

  Raises:
    UserError: a field does not exist, or a value has the wrong type.
  """
  values = {f: adopted(config, f, v, beside) if f in PLUGINS else v for f, v in values.items()}
  known = flat(config)
  for field, value in values.items():
    check_field(where, field, known)
    try:
      set_field(config, field, fields.converted(field, defaults().get(field, known[field]), value))
    except ValueError as error:
      raise UserError(f'{where}: {field}={fields.shown(value)}: expected {error}.') from None


def set_field(config: ConfigDict, field: str, value: Any) -> None:
  """Sets a field by dotted name, without conversion or check."""
  *path, last = field.split('.')
  for part in path:
    config = config[part]
  with config.ignore_type():  # the recipe may have set a value of another type
    config[last] = value


@functools.cache
def defaults() -> dict[str, Any]:
  """Returns the default of each field by dotted name."""
  from noisyjax.config import defaults

  return flat(defaults.get_config())


def check_field(where: str, field: str, known: Iterable[str]) -> None:
  """Checks that a field exists.

  Args:
    where: source of the field, for messages.
    field: dotted name.
    known: dotted names of all fields.

  Raises:
    UserError: the field does not exist; the message names the closest field, and the fields of the same table.
  """
  known = list(known)
  if field in known:
    return
  path = field.split('.')[:-1]
  while path and not any(k.startswith('.'.join(path) + '.') for k in known):
    path.pop()
  prefix = ''.join(f'{p}.' for p in path)
  beside = sorted({k.removeprefix(prefix).split('.')[0] for k in known if k.startswith(prefix)})
  near = difflib.get_close_matches(field, known, n=1)
  hint = f' Did you mean {near[0]!r}?' if near else ''
  table = f' of {".".join(path)}' if path else ''
  raise UserError(f'{where}: there is no field {field!r}.{hint} Fields{table}: {listed(beside)}.')
