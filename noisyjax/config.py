"""From a ConfigDict to the phases that train.py runs; and what may be wrong with a config."""

import dataclasses
import difflib
import functools
import numbers
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax import fields, optim, plugins, step, strategy
from noisyjax.cadence import Cadence
from noisyjax.data import augment
from noisyjax.errors import UserError, check_choice, listed
from noisyjax.log import log
from noisyjax.models import conv
from noisyjax.net import Net
from noisyjax.train import Phase

STRATEGIES = 'noisyjax.strategies'
MODELS = 'noisyjax.models'
SOURCES = 'noisyjax.data.sources'
OPS = 'noisyjax.data.augment'
# Fields that name plug-ins: where these lie, and what each defines. A list of them is told by the package OPS.
_PLUGINS = {
  'strategy.name': (STRATEGIES, 'Strategy'), 'model.name': (MODELS, 'Model'), 'data.source': (SOURCES, 'load'),
  'augment.weak': (OPS, 'op'), 'augment.strong': (OPS, 'op'),
}  # fmt: skip
# Fields of a model that the engine sets, or that every model shares.
_SHARED = ('classes', 'dtype', 'conv', 'parent', 'name')
# What a phase cannot set for itself.
_WHOLE_RUN = ('seed', 'epochs', 'phases', 'select', 'told', 'data', 'noise', 'checkpoint', 'devices', 'tensorboard')


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
    kind = 'a subclass of noisyjax.strategy.Strategy' if package == STRATEGIES else 'a Flax module'
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
  return _fields(MODELS, 'Model', _SHARED)


def adopt(config: ConfigDict, beside: Path | None = None) -> None:
  """Loads the plug-ins that a config names by the paths of their files; from here on it names them as it does others.

  Args:
    config: changed in place; a strategy's or a model's table of fields joins it.
    beside: the folder in which to look for what the current folder does not hold: the recipe's.
  Raises:
    UserError: a file that is missing, or is no such plug-in.
  """
  for field in _PLUGINS:
    table, last = field.split('.')
    named = _adopted(config, field, config[table][last], beside)
    if named != config[table][last]:
      config[table][last] = named
  phases = config.phases
  if isinstance(phases, tuple) and any(plugins.is_path(p[0]) for p in phases if isinstance(p, tuple) and p):
    named = lambda p: (_adopted(config, 'strategy.name', p[0], beside), *p[1:])
    config.phases = tuple(named(p) if isinstance(p, tuple) and p else p for p in phases)


def _adopted(config: ConfigDict, field: str, value: Any, beside: Path | None) -> Any:
  """Returns the value of a field that names plug-ins, or of a list of such fields, with paths replaced by names."""
  if isinstance(value, tuple | list):
    return type(value)(_adopted(config, field, v, beside) for v in value)
  if _PLUGINS[field][0] == OPS and isinstance(value, str):  # maybe the text of a list
    return re.sub(r"""[^\s,'"()\[\]]+\.py(?![\w.])""", lambda m: _load(config, field, m[0], beside), value)
  return _load(config, field, value, beside) if plugins.is_path(value) else value


def _load(config: ConfigDict, field: str, path: str, beside: Path | None) -> str:
  """Loads a plug-in into the config; returns its name."""
  package, attribute = _PLUGINS[field]
  table = config[field.split('.')[0]]
  taken = {OPS: augment.OPS, SOURCES: ()}.get(package, table)
  file = plugins.load(package, path, attribute, field, beside, taken)
  if package == OPS:
    augment.OPS[file.name] = plugins.attribute(file, attribute)
  elif package != SOURCES and file.name not in table:
    try:
      fields = _table(package, file.name, attribute, _SHARED if package == MODELS else ())
    except UserError:
      plugins.forget(file)
      raise
    with config.unlocked():
      table[file.name] = fields
  return file.name


def find_strategy(name: str) -> type[strategy.Strategy]:
  """Returns the strategy class; raises UserError listing all if there is none of that name."""
  return plugins.find(STRATEGIES, name, 'Strategy', 'strategy.name')


def find_model(name: str) -> type:
  """Returns the model class; raises UserError listing all if there is none of that name."""
  return plugins.find(MODELS, name, 'Model', 'model.name')


def build_strategy(config: ConfigDict, name: str) -> strategy.Strategy:
  """Returns the strategy with the config's fields."""
  return find_strategy(name).build(**config.strategy[name])


def build_model(config: ConfigDict, classes: int) -> Any:
  """Returns the model with the config's fields; `conv = auto` is decided here, once."""
  cls = find_model(config.model.name)
  shared = {'dtype': config.model.dtype, 'conv': config.model.conv}
  if shared['conv'] == 'auto':
    one_cpu = jax.default_backend() == 'cpu' and jax.device_count() == 1  # XLA shares only its own among devices
    shared['conv'] = 'plain' if not one_cpu else 'onednn' if 'onednn' in conv.kinds() else 'matmul'
  known = {f.name for f in dataclasses.fields(cls)}
  return cls(classes=classes, **{k: v for k, v in shared.items() if k in known}, **config.model[config.model.name])


def phases(config: ConfigDict) -> list[tuple[str, int, ConfigDict]]:
  """Returns (strategy, epochs, config under the phase's overrides) of each phase.

  Raises:
    UserError: a malformed phase, an unknown strategy, or an override of a field that does not exist.
  """
  find_strategy(config.strategy.name)
  planned = config.phases or build_strategy(config, config.strategy.name).phases(config.strategy.name, config.epochs)
  out = []
  for i, phase in enumerate(planned):
    try:
      name, epochs, overrides = phase
      overrides = dict(overrides)
    except (TypeError, ValueError):
      raise UserError(f'phases[{i}]: expected (strategy, epochs, overrides), found {phase!r}.') from None
    find_strategy(name)
    if type(epochs) is not int or epochs < 1:
      raise UserError(f'phases[{i}]: expected at least 1 epoch, as a whole number, found {epochs!r}.')
    for field in overrides:
      if field.split('.')[0] in _WHOLE_RUN or field == 'strategy.name':
        raise UserError(f'phases[{i}]: {field} is of the whole run; a phase cannot set it.')
    own = config.copy_and_resolve_references()
    override(own, overrides, f'phases[{i}]')
    out.append((name, epochs, own))
  return out


def override(config: ConfigDict, values: dict[str, Any], where: str, beside: Path | None = None) -> None:
  """Sets dotted fields, each of its field's type; plug-ins named by path are loaded, from `beside` too (see `adopt`).

  Raises:
    UserError: naming `where`, the field, and the nearest field there is, or the type expected.
  """
  values = {f: _adopted(config, f, v, beside) if f in _PLUGINS else v for f, v in values.items()}
  known = flat(config)
  for field, value in values.items():
    check_field(where, field, known)
    try:
      _set(config, field, fields.converted(field, _defaults().get(field, known[field]), value))
    except ValueError as error:
      raise UserError(f'{where}: {field}={fields.shown(value)}: expected {error}.') from None


def _set(config: ConfigDict, field: str, value: Any) -> None:
  *path, last = field.split('.')
  for part in path:
    config = config[part]
  with config.ignore_type():  # a recipe may have put a value of another type there
    config[last] = value


@functools.cache
def _defaults() -> dict[str, Any]:
  """Returns dotted name → default."""
  from noisyjax import defaults  # which reads the fields of strategies and models from here

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


def flat(config: ConfigDict | dict, prefix: str = '') -> dict[str, Any]:
  """Returns dotted name → value."""
  out = {}
  for name, value in config.items():
    if isinstance(value, ConfigDict | dict):
      out |= flat(value, f'{prefix}{name}.')
    else:
      out[f'{prefix}{name}'] = value
  return out


def difference(old: dict, new: dict) -> list[str]:
  """Returns one line per dotted field that differs between two resolved configs."""
  was, now = old.get('plugins', {}), new.get('plugins', {})
  shas = ((name, was[name]['sha256'], now[name]['sha256']) for name in sorted(was.keys() & now.keys()))
  edited = [f'{now[name]["file"]}: {plugins.changed(a, b)}' for name, a, b in shas if a != b]
  a, b = (flat({k: v for k, v in c.items() if k != 'plugins'}) for c in (old, new))  # a file may be moved
  plain = lambda v: list(v) if isinstance(v, tuple) else v
  value = lambda config, field: repr(config[field]) if field in config else 'no such field'  # of another version
  return edited + [f'{k}: {value(a, k)} → {value(b, k)}' for k in sorted(a | b) if plain(a.get(k)) != plain(b.get(k))]


def resolved(config: ConfigDict) -> dict:
  """Returns the config as plain data, without the tables of strategies and models that the run does not use."""
  used = {config.strategy.name, *(p[0] for p in config.phases)}
  if not config.phases:
    used |= {p[0] for p in build_strategy(config, config.strategy.name).phases(config.strategy.name, config.epochs)}
  out = config.to_dict()
  models = {config.model.name, *(own.model.name for _, _, own in phases(config))}
  for field, keep in (('strategy', used), ('model', models)):
    out[field] = {k: v for k, v in out[field].items() if not isinstance(v, dict) or k in keep}
  views = {op for c in (config, *(own for _, _, own in phases(config))) for op in (*c.augment.weak, *c.augment.strong)}
  named = ((STRATEGIES, used), (MODELS, models), (SOURCES, {config.data.source}), (OPS, views))
  if files := [file for package, names in named for file in plugins.loaded(package, sorted(names))]:
    out['plugins'] = {f'{f.package}.{f.name}': {'file': f.file, 'sha256': f.sha256} for f in files}
  return out


def restored(values: dict) -> ConfigDict:
  """Returns the config that `resolved` wrote, from JSON: lists are tuples again and unused tables have defaults.

  Raises:
    UserError: a plug-in of the run is gone, or its file is another now.
  """
  values = dict(values)
  attributes = dict(_PLUGINS.values())
  for name, found in values.pop('plugins', {}).items():
    package, _, own = name.rpartition('.')
    plugins.recall(plugins.File(package, own, **found), attributes[package])
    if package == OPS:
      augment.OPS[own] = plugins.attribute(plugins.File(package, own, **found), 'op')

  def tuples(value):
    if isinstance(value, dict):
      return {k: tuples(v) for k, v in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value

  config = ConfigDict(tuples(values))
  for field, defaults in (('strategy', strategy_fields()), ('model', model_fields())):
    for name, table in defaults.items():
      if name not in config[field]:
        config[field][name] = table
  return config


def check(config: ConfigDict) -> ConfigDict:
  """Looks at a config before anything is loaded or written.

  Returns:
    A copy in which every value is of its field's kind: 1 is 1.0, a list is a tuple, a class 7 is "7".
  Raises:
    UserError: naming the field, its value and what was expected; unknown names, values out of range, contradictions.
  """
  config = _settled(config)
  _check_values(config)
  find_model(config.model.name)
  planned = phases(config)
  if build_strategy(planned[0][2], planned[0][0]).refresh_on == 'phase':
    raise UserError(
      f'phases[0]: {planned[0][0]!r} asks the networks of the phase before it, and there is none; expected, before it, '
      "such as ('naive', 10, {'rows': 'trusted', 'labels': 'verified'})."
    )
  for name, _, own in planned:
    if not hasattr(find_model(own.model.name), 'apply') and own.model.name != config.model.name:
      raise UserError(f'phases: model {own.model.name!r} is fitted in one go, and cannot be a phase.')
    _check_values(own)
    check_choice('optim.name', own.optim.name, optim.OPTIMIZERS)
    check_choice('schedule.name', own.schedule.name, optim.SCHEDULES)
    check_choice('rows', own.rows, ROWS)
    if own.mixup and build_strategy(own, name).mix is None:
      raise UserError(f'mixup: {own.mixup} contradicts strategy {name!r}, for which mixup is not defined; expected 0.')
    if own.schedule.name == 'plateau' and not own.data.val:
      raise UserError("schedule.name: 'plateau' looks at validation, and data.val is empty.")
    if own.stop.patience and not own.data.val:
      raise UserError(f'stop.patience: {own.stop.patience} looks at validation, and data.val is empty.')
    for field in ('reset', 'freeze'):
      try:
        re.compile(own[field])
      except re.error as error:
        raise UserError(f'{field}: {own[field]!r} is not a regular expression: {error}.') from None
    for view in ('weak', 'strong'):
      augment.check_ops(f'augment.{view}', own.augment[view])
    augment.check_strength('augment', _strength(own))
  check_choice('model.conv', config.model.conv, ('auto', *conv.KINDS))
  if config.data.unlabeled in config.data.classes:
    raise UserError(
      f'data.classes: {config.data.unlabeled!r} is data.unlabeled, the word for no label; expected classes alone.'
    )
  try:
    Cadence(config.checkpoint.every, 1, 1)
  except UserError as error:
    raise UserError(f'checkpoint.every: {error}') from None
  if not hasattr(find_model(config.model.name), 'apply') and (
    config.strategy.name != 'naive' or config.phases or config.mixup or config.rows != 'all' or config.labels
  ):
    raise UserError(
      f'model.name: {config.model.name!r} is fitted in one go, to the given labels of all rows; expected '
      "strategy.name='naive', rows='all' and no phases, labels or mixup."
    )
  return config


def complete(config: ConfigDict, where: str) -> None:
  """Raises UserError, naming `where` and a field that the config does not have, unless it has every field."""
  known = flat(config)
  missing = [field for field in _defaults() if field not in known]
  if missing:
    raise UserError(
      f'{where}: the config has no field {missing[0]!r} ({len(missing)} missing); expected one that begins with '
      'base.get_config() of configs/base.py.'
    )


def _settled(config: ConfigDict) -> ConfigDict:
  """Returns a copy with plug-ins loaded and every value brought to its field's kind."""
  config = config.copy_and_resolve_references()
  complete(config, 'config')
  for field, found in flat(config).items():
    try:
      value = fields.converted(field, _defaults().get(field, found), found)
      if repr(value) != repr(found):  # (1, 2) equals (1.0, 2.0)
        _set(config, field, value)
    except ValueError as error:
      raise UserError(f'{field}: expected {error}, found {fields.shown(found)}.') from None
  adopt(config)
  return config


def _check_values(config: ConfigDict) -> None:
  """Raises UserError for a value out of its field's range or choices."""
  for field, value in flat(config).items():
    fields.check(field, value)


def _strength(config: ConfigDict) -> dict[str, Any]:
  return {k: v for k, v in config.augment.items() if k not in ('weak', 'strong')}


# Which training rows a phase may use, from given and verified labels [N].
ROWS = {
  'all': lambda given, verified: np.ones(len(given), bool),
  'labeled': lambda given, verified: given >= 0,
  'trusted': lambda given, verified: verified >= 0,
  'untrusted': lambda given, verified: verified < 0,
}


@functools.cache
def _mesh(count: int):
  """One mesh per process, so that the step it is static in is traced once."""
  if count == 1:
    return None
  return jax.make_mesh((count,), ('data',), devices=jax.devices()[:count], axis_types=(jax.sharding.AxisType.Auto,))


def plan(config: ConfigDict, data: strategy.TrainData) -> list[Phase]:
  """Returns the phases of a run on these rows.

  Raises:
    UserError: a phase without rows, or more devices than there are.
  """
  out = []
  devices = config.devices or len(jax.devices())
  if devices > len(jax.devices()):
    raise UserError(f'devices: found {devices}, expected at most {len(jax.devices())}.')
  for name, epochs, c in phases(config):
    method = build_strategy(c, name)
    rows = ROWS[c.rows](data.given, data.verified)
    rows = rows if data.weight is None else rows & (data.weight > 0)
    if not rows.any():
      raise UserError(f'rows: {c.rows!r} leaves no row to phase {name!r}; no training row is verified.')
    if 'verified' in method.needs and not (data.verified >= 0).any():
      raise UserError(
        f'strategy.name: {name!r} learns from verified rows, and no training row is one; expected data.verified '
        '(labels someone checked) or, where the truth is known, data.trusted.'
      )
    model = build_model(c, data.classes + method.extra_classes)
    mean, std = pixel_statistics(c, model, data.images)
    net = Net(model, mean, std, method.networks, unroll=not c.model.vmap)
    o, s = c.optim, c.schedule
    optimizer = optim.Optimizer.build(
      name=o.name, schedule=s.name, lr=o.lr, decay=o.decay, momentum=o.momentum, nesterov=o.nesterov, b1=o.b1, b2=o.b2,
      eps=o.eps, clip=o.clip, kernels_only=o.kernels_only, freeze=c.freeze,
    )  # fmt: skip
    pipelines = (('weak', tuple(c.augment.weak)), ('strong', tuple(c.augment.strong)), ('none', ()))
    strength = _strength(c)
    size = _batch_size(c, name, method, rows, data, first=not out)
    if config.devices and size % devices:
      raise UserError(f'batch_size: {size} cannot be spread over devices={devices}; expected a multiple of it.')
    if size % devices:
      log.info('batch_size: %d cannot be spread over %d devices; phase %r uses one.', size, devices, name)
    mesh = _mesh(devices if size % devices == 0 else 1)
    spec = step.Spec(net, data.classes, size, pipelines, c.mixup > 0, c.ema > 0, mesh)
    numbers = {f: s[f] for f in ('warmup', 'final', 'factor', 'milestones', 'restart', 'peak')}
    schedule = optim.Schedule(**{f: np.asarray(v, np.float32) for f, v in numbers.items()})
    hyper = step.Hyper(
      optimizer=optimizer, schedule=schedule,
      strength=jax.tree.map(np.float32, augment.check_strength('augment', strength)),
      epochs=np.float32(epochs), steps=np.float32(1), mixup=np.float32(c.mixup or 1.0), ema=np.float32(c.ema),
      stop=(np.int32(c.stop.patience), np.float32(c.stop.delta)),
      plateau=(np.int32(s.patience if s.name == 'plateau' else 0), np.float32(s.factor)),
    )  # fmt: skip
    per_call = c.per_call or (1 if jax.default_backend() == 'cpu' else 0)
    out.append(
      Phase(name, method, spec, hyper, epochs, rows, c.labels, c.reset, c.stop.metric, c.steps_per_epoch, per_call,
            c.eval_batch_size, c.balance)
    )  # fmt: skip
  return out


def _batch_size(
  config: ConfigDict, name: str, method: strategy.Strategy, rows: np.ndarray, data: strategy.TrainData, first: bool
) -> int:
  """Returns the rows of a step: `batch_size`, or less where an epoch goes once through fewer rows than that.

  A phase that names the steps of its epochs walks the rows as often as it takes.
  """
  if config.steps_per_epoch > 0:
    return config.batch_size
  views = next(iter(method.streams.values()))
  labels = config.labels or ('given' if first else '')  # '': those that the phase before this one leaves
  if views.labeled and labels:
    rows = rows & ({'given': data.given, 'verified': data.verified}[labels] >= 0)
  usable = int(rows.sum()) // views.ratio
  size = fitting(config.batch_size, usable)
  if size < config.batch_size:
    log.info(
      'batch_size: %d is larger than the %d rows that phase %r trains on; %d is used.',
      config.batch_size, usable, name, size,
    )  # fmt: skip
  return size


def fitting(batch_size: int, rows: int) -> int:
  """Returns the batch size, or the largest power of two that `rows` fill: folds of about a size then share a step."""
  return batch_size if batch_size <= rows else 1 << max(rows.bit_length() - 1, 0)


def pixel_statistics(config: ConfigDict, model: Any, images: np.ndarray) -> tuple[tuple, tuple]:
  """Returns mean and std per channel in 0-255: the config's, or the training images'; (0, 1) for a raw model.

  Those of the images are rounded to whole numbers: they are static, and folds and splits of one data set, which differ
  in the decimals, then share one compiled step.
  """
  channels = images.shape[-1]
  if getattr(model, 'raw', False):
    return (0.0,) * channels, (1.0,) * channels
  given = []
  for field in ('mean', 'std'):
    values = tuple(config.model[field])
    if values and len(values) != channels:
      raise UserError(f'model.{field}: found {len(values)} numbers, expected {channels}, one a channel.')
    given.append(values)
  if all(given):
    return tuple(given)
  counts = np.zeros((channels, 256))
  for start in range(0, len(images), 1000):  # in parts: bincount makes eight bytes of each
    pixels = images[start : start + 1000].reshape(-1, channels)
    counts += [np.bincount(pixels[:, c], minlength=256) for c in range(channels)]
  mean, square = (counts @ np.arange(256.0) ** power / counts.sum(1) for power in (1, 2))
  std = np.sqrt(np.maximum(square - mean**2, 1.0))
  return tuple(values or tuple(float(round(v)) for v in found) for values, found in zip(given, (mean, std)))
