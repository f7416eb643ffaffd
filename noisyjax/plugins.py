"""Plug-ins are found by module name and a fixed class or function name: adding one adds a file."""

import importlib
import pkgutil
from typing import Any

from noisyjax.errors import check_choice


def names(package: str, attribute: str) -> list[str]:
  """Returns the modules of `package` (dotted name) that define `attribute`, sorted."""
  path = importlib.import_module(package).__path__
  modules = (m.name for m in pkgutil.iter_modules(path))
  return sorted(m for m in modules if hasattr(importlib.import_module(f'{package}.{m}'), attribute))


def find(package: str, name: str, attribute: str, field: str) -> Any:
  """Returns `attribute` of module `package.name`.

  Raises:
    UserError: naming `field`, the nearest name and all names, if there is no such plug-in.
  """
  check_choice(field, name, names(package, attribute))
  return getattr(importlib.import_module(f'{package}.{name}'), attribute)
