"""Sets dotted fields of a config, each of its field's type."""

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
  """Sets dotted fields, each of its field's type; plug-ins named by path are loaded, from `beside` too (see `adopt`).

  Raises:
    UserError: naming `where`, the field, and the nearest field there is, or the type expected.
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
  *path, last = field.split('.')
  for part in path:
    config = config[part]
  with config.ignore_type():  # a recipe may have put a value of another type there
    config[last] = value


@functools.cache
def defaults() -> dict[str, Any]:
  """Returns dotted name → default."""
  from noisyjax.config import defaults

  return flat(defaults.get_config())


def check_field(where: str, field: str, known: Iterable[str]) -> None:
  """Looks whether a dotted field exists.

  Raises:
    UserError: naming `where`, the nearest field, and the fields beside it.
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
