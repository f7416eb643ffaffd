"""Configs as plain data for JSON files, and the difference between two of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config.defaults import get_config
from noisyjax.config.flat import flat
from noisyjax.config.plan import Plan
from noisyjax.config.plugin_fields import MODELS, OPS, PLUGINS, SOURCES, STRATEGIES
from noisyjax.engine.augment import ops
from noisyjax.system import plugins
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Returns one line for each changed plug-in and each dotted field that differs between two resolved configs."""
  was, now = old.get('plugins', {}), new.get('plugins', {})
  shas = ((name, was[name]['sha256'], now[name]['sha256']) for name in sorted(was.keys() & now.keys()))
  edited = [f'{now[name]["file"]}: {plugins.changed(a, b)}' for name, a, b in shas if a != b]
  a, b = (flat({k: v for k, v in c.items() if k != 'plugins'}) for c in (old, new))  # paths may differ
  plain = lambda v: list(v) if isinstance(v, tuple) else v
  value = lambda config, field: repr(config[field]) if field in config else 'no such field'  # in another version
  return edited + [f'{k}: {value(a, k)} → {value(b, k)}' for k in sorted(a | b) if plain(a.get(k)) != plain(b.get(k))]


def resolved(plan: Plan) -> dict:
  """Returns the config as plain data, with the files of plug-ins and without tables of unused strategies and models."""
  config = plan.config
  used = {config.strategy.name, *(phase.strategy for phase in plan.phases)}
  out = config.to_dict()
  models = {config.model.name, *(own.model.name for _, _, own in plan.phases)}
  for field, keep in (('strategy', used), ('model', models)):
    out[field] = {k: v for k, v in out[field].items() if not isinstance(v, dict) or k in keep}
  views = {op for c in (config, *(own for _, _, own in plan.phases)) for op in (*c.augment.weak, *c.augment.strong)}
  named = ((STRATEGIES, used), (MODELS, models), (SOURCES, {config.data.source}), (OPS, views))
  if files := [file for package, names in named for file in plugins.loaded(package, sorted(names))]:
    out['plugins'] = {f'{f.package}.{f.name}': {'file': f.file, 'sha256': f.sha256} for f in files}
  return out


def restored(values: dict, where: object = 'config.json') -> ConfigDict:
  """Returns the config that `resolved` turned into plain data, after a round trip through JSON.

  Lists become tuples. Tables of unused strategies and models get their defaults, and so do fields that the file of an
  older version lacks. Fields that only another version has are left out, and a warning names them.

  Args:
    values: the plain data.
    where: the file, for messages.

  Raises:
    UserError: the file of a plug-in is missing or has changed, or a model has a field that only another version has.
  """
  values = dict(values)
  attributes = dict(PLUGINS.values())
  for name, found in values.pop('plugins', {}).items():
    package, _, own = name.rpartition('.')
    plugins.recall(plugins.File(package, own, **found), attributes[package])
    if package == OPS:
      ops.OPS[own] = plugins.attribute(plugins.File(package, own, **found), 'op')

  def tuples(value: Any) -> Any:
    if isinstance(value, dict):
      return {k: tuples(v) for k, v in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value

  config, defaults = ConfigDict(tuples(values)), get_config().unlock()
  gone = list(_without(config, defaults))
  if shape := [field for field in gone if field.startswith('model.')]:
    raise UserError(
      f'{where}: this version of noisyjax has no field {listed(shape)}, without which the network may be another one. '
      'Use the version that wrote the run.'
    )
  _fill(config, defaults)
  known = flat(config)
  for _, _, fields in config.phases:
    gone += [field for field in fields if field not in known]
  if gone:
    log.warning('%s: fields of another version of noisyjax are ignored: %s.', where, listed(dict.fromkeys(gone)))
  keep = lambda fields: {field: value for field, value in fields.items() if field in known}
  config.phases = tuple((name, epochs, keep(fields)) for name, epochs, fields in config.phases)
  return config


def _without(config: ConfigDict, defaults: ConfigDict, table: str = '') -> Iterator[str]:
  """Removes the fields that `defaults` lacks, and yields their dotted names. Tables of plug-ins remain."""
  for name, value in list(config.items()):
    if name in defaults and isinstance(value, ConfigDict):
      yield from _without(value, defaults[name], f'{table}{name}.')
    elif name not in defaults and not (table and isinstance(value, ConfigDict)):
      del config[name]
      yield f'{table}{name}'


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
  """Adds the fields and tables that `config` lacks."""
  for name, value in defaults.items():
    if name not in config:
      config[name] = value
    elif isinstance(value, ConfigDict):
      _fill(config[name], value)
