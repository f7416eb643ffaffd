"""The config fields of strategies and models, taken from the plug-ins; and loading of plug-ins named by path."""

import dataclasses
import numbers
import re
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.engine import strategy
from noisyjax.engine.augment import ops
from noisyjax.engine.traced import traced_fields
from noisyjax.models.protocol import is_model
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

STRATEGIES = 'noisyjax.strategies'
MODELS = 'noisyjax.models'
SOURCES = 'noisyjax.data.sources'
OPS = 'noisyjax.engine.augment'
# Fields that name plug-ins: the package of the plug-ins, and the attribute that each of them defines. Fields of the
# package OPS hold a list of names.
PLUGINS = {
  'strategy.name': (STRATEGIES, 'Strategy'),
  'model.name': (MODELS, 'Model'),
  'data.source': (SOURCES, 'load'),
  'augment.weak': (OPS, 'op'),
  'augment.strong': (OPS, 'op'),
}
# Fields of a model that are not in its table: the engine sets them, or all models share them.
SHARED = ('classes', 'dtype', 'conv', 'parent', 'name')


def _fields(package: str, attribute: str, skip: tuple[str, ...] = ()) -> ConfigDict:
  """Returns a field `name`, and a table of fields for each plug-in of a package."""
  table = ConfigDict({'name': ''})
  for name in plugins.names(package, attribute):
    if not plugins.loaded(package, [name]):  # the table of a file is added only to configs that name it
      table[name] = _table(package, name, attribute, skip)
  return table


def _table(package: str, name: str, attribute: str, skip: tuple[str, ...]) -> ConfigDict:
  """Returns the fields of a strategy or model with their defaults."""
  cls = plugins.find(package, name, attribute, package)
  where = f'{sys.modules[cls.__module__].__file__}: {attribute}'
  if not (isinstance(cls, type) and (issubclass(cls, strategy.Strategy) if package == STRATEGIES else _is_model(cls))):
    kind = 'a subclass of noisyjax.engine.strategy.Strategy' if package == STRATEGIES else 'a Flax module'
    raise UserError(f'{where} is not {kind}; expected one.')
  fields = [f for f in dataclasses.fields(cls) if f.name not in skip]
  traced = traced_fields(cls) if package == STRATEGIES else ()
  for field in fields:
    if field.default is dataclasses.MISSING:
      raise UserError(f'{where}.{field.name} has no default value; every field needs one.')
    if (field.name in traced or field.type in (float, 'float')) and not isinstance(field.default, numbers.Real):
      raise UserError(f'{where}.{field.name} is {field.default!r}; expected a number.')
  return ConfigDict({f.name: f.default for f in fields})


def _is_model(cls: type) -> bool:
  """Returns whether a class is a model as `models.protocol` describes it."""
  return dataclasses.is_dataclass(cls) and is_model(cls)


def strategy_fields() -> ConfigDict:
  """Returns `config.strategy`: a field `name`, and a table of the defaults of each strategy."""
  return _fields(STRATEGIES, 'Strategy')


def model_fields() -> ConfigDict:
  """Returns `config.model`: a field `name`, and a table of the defaults of each model."""
  return _fields(MODELS, 'Model', SHARED)


def adopt(config: ConfigDict, beside: Path | None = None) -> None:
  """Loads the plug-ins that a config names by path, and replaces the paths by module names.

  Args:
    config: changed in place; the tables of fields of loaded strategies and models are added.
    beside: second folder in which to look for the files, after the current folder: that of the recipe.

  Raises:
    UserError: a file is missing, or is not a plug-in of the expected kind.
  """
  for field in PLUGINS:
    table, last = field.split('.')
    named = adopted(config, field, config[table][last], beside)
    if named != config[table][last]:
      config[table][last] = named
  phases = config.phases
  if isinstance(phases, tuple) and any(plugins.is_path(p[0]) for p in phases if isinstance(p, tuple) and p):
    named = lambda p: (adopted(config, 'strategy.name', p[0], beside), *p[1:])
    config.phases = tuple(named(p) if isinstance(p, tuple) and p else p for p in phases)


def adopted(config: ConfigDict, field: str, value: Any, beside: Path | None) -> Any:
  """Loads the plug-ins that the value of a field names by path, and returns the value with module names in their place.

  Args:
    config: see `adopt`.
    field: a field in PLUGINS.
    value: value of the field, or a list of values.
    beside: see `adopt`.
  """
  if isinstance(value, tuple | list):
    return type(value)(adopted(config, field, v, beside) for v in value)
  if PLUGINS[field][0] == OPS and isinstance(value, str):  # possibly the text of a list
    return re.sub(r"""[^\s,'"()\[\]]+\.py(?![\w.])""", lambda m: _load(config, field, m[0], beside), value)
  return _load(config, field, value, beside) if plugins.is_path(value) else value


def _load(config: ConfigDict, field: str, path: str, beside: Path | None) -> str:
  """Loads a plug-in, adds its fields to the config, and returns its module name."""
  package, attribute = PLUGINS[field]
  table = config[field.split('.')[0]]
  taken = {OPS: ops.OPS, SOURCES: ()}.get(package, table)
  file = plugins.load(package, path, attribute, field, beside, taken)
  if package == OPS:
    ops.OPS[file.name] = plugins.attribute(file, attribute)
  elif package != SOURCES and file.name not in table:
    try:
      fields = _table(package, file.name, attribute, SHARED if package == MODELS else ())
    except UserError:
      plugins.forget(file)
      raise
    with config.unlocked():
      table[file.name] = fields
  return file.name
