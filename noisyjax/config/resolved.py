"""Configs as plain data for JSON files, and the difference between two of them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config.defaults import get_config
from noisyjax.config.flat import flat
from noisyjax.config.plan import Plan
from noisyjax.config.plugin_fields import MODELS, OPS, PLUGINS, SOURCES, STRATEGIES
from noisyjax.engine.augment import ops
from noisyjax.system import plugins


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


def restored(values: dict) -> ConfigDict:
  """Returns the config that `resolved` turned into plain data, after a round trip through JSON.

  Lists become tuples. Tables of unused strategies and models get their defaults, and so do fields that the file of an
  older version lacks.

  Raises:
    UserError: the file of a plug-in is missing or has changed.
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

  config = ConfigDict(tuples(values))
  _fill(config, get_config().unlock())
  return config


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
  """Adds the fields and tables that `config` lacks."""
  for name, value in defaults.items():
    if name not in config:
      config[name] = value
    elif isinstance(value, ConfigDict):
      _fill(config[name], value)
