"""The fields of strategies and models, read off the plug-ins themselves; and plug-ins that a config names by path."""

import dataclasses
import numbers
import re
import sys
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from noisyjax.engine import strategy
from noisyjax.engine.augment import ops
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

STRATEGIES = 'noisyjax.strategies'
MODELS = 'noisyjax.models'
SOURCES = 'noisyjax.data.sources'
OPS = 'noisyjax.engine.augment'
# Fields that name plug-ins: where these lie, and what each defines. A list of them is told by the package OPS.
PLUGINS = {
  'strategy.name': (STRATEGIES, 'Strategy'),
  'model.name': (MODELS, 'Model'),
  'data.source': (SOURCES, 'load'),
  'augment.weak': (OPS, 'op'),
  'augment.strong': (OPS, 'op'),
}
# Fields of a model that the engine sets, or that every model shares.
SHARED = ('classes', 'dtype', 'conv', 'parent', 'name')


def _fields(package: str, attribute: str, skip: tuple[str, ...] = ()) -> ConfigDict:
  table = ConfigDict({'name': ''})
  for name in plugins.names(package, attribute):
    if not plugins.loaded(package, [name]):  # whose table joins the configs that name it
      table[name] = _table(package, name, attribute, skip)
  return table


def _table(package: str, name: str, attribute: str, skip: tuple[str, ...]) -> ConfigDict:
  """Returns the fields of one strategy or model, with their defaults."""
  cls = plugins.find(package, name, attribute, package)
  where = f'{sys.modules[cls.__module__].__file__}: {attribute}'
  if not (isinstance(cls, type) and (issubclass(cls, strategy.Strategy) if package == STRATEGIES else _is_model(cls))):
    kind = 'a subclass of noisyjax.engine.strategy.Strategy' if package == STRATEGIES else 'a Flax module'
    raise UserError(f'{where} is something else than expected: {kind}.')
  fields = [f for f in dataclasses.fields(cls) if f.name not in skip]
  for field in fields:
    if field.default is dataclasses.MISSING:
      raise UserError(f'{where}.{field.name} has no default; expected one.')
    if field.type in (float, 'float') and not isinstance(field.default, numbers.Real):
      raise UserError(f'{where}.{field.name} is {field.default!r}; expected a number.')
  return ConfigDict({f.name: f.default for f in fields})


def _is_model(cls: type) -> bool:
  return dataclasses.is_dataclass(cls) and (hasattr(cls, 'apply') or hasattr(cls, 'fit'))


def strategy_fields() -> ConfigDict:
  """Returns `config.strategy`: name, and a table of defaults per strategy, read off the dataclasses themselves."""
  return _fields(STRATEGIES, 'Strategy')


def model_fields() -> ConfigDict:
  """Returns `config.model`: name, and a table of defaults per model."""
  return _fields(MODELS, 'Model', SHARED)


def adopt(config: ConfigDict, beside: Path | None = None) -> None:
  """Loads the plug-ins that a config names by the paths of their files; from here on it names them as it does others.

  Args:
    config: changed in place; a strategy's or a model's table of fields joins it.
    beside: the folder in which to look for what the current folder does not hold: the recipe's.
  Raises:
    UserError: a file that is missing, or is no such plug-in.
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
  """Returns the value of a field that names plug-ins, or of a list of such fields, with paths replaced by names."""
  if isinstance(value, tuple | list):
    return type(value)(adopted(config, field, v, beside) for v in value)
  if PLUGINS[field][0] == OPS and isinstance(value, str):  # maybe the text of a list
    return re.sub(r"""[^\s,'"()\[\]]+\.py(?![\w.])""", lambda m: _load(config, field, m[0], beside), value)
  return _load(config, field, value, beside) if plugins.is_path(value) else value


def _load(config: ConfigDict, field: str, path: str, beside: Path | None) -> str:
  """Loads a plug-in into the config; returns its name."""
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
