"""Resolves a config into a `Plan`, and a plan with training rows into the phases that `engine.train.fit` runs."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.build import build_model, build_strategy, find_strategy, find_weights
from noisyjax.config.override import override
from noisyjax.data.moments import moments
from noisyjax.data.training import Status, TrainData
from noisyjax.engine import optim, step, strategy
from noisyjax.engine.net import Net
from noisyjax.engine.phase import Phase
from noisyjax.models.weights.pretrained import Weights
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

# Fields that apply to the whole run and cannot be overridden by a phase.
_WHOLE_RUN = ('seed', 'epochs', 'phases', 'select', 'told', 'data', 'noise', 'checkpoint', 'devices', 'tensorboard')


class PlannedPhase(NamedTuple):
  """A phase as the config defines it.

  Attributes:
    strategy: name of its strategy.
    epochs: maximum number of epochs.
    config: config of the run with the overrides of this phase.
  """

  strategy: str
  epochs: int
  config: ConfigDict

  @property
  def method(self) -> strategy.Strategy:
    """The strategy, with the fields that this phase sets."""
    return build_strategy(self.config, self.strategy)


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """A resolved config: everything that follows from the config alone. It does not change afterwards.

  Attributes:
    config: config of the run.
    phases: phases in order of execution.
  """

  config: ConfigDict
  phases: tuple[PlannedPhase, ...]

  @classmethod
  def of(cls, config: ConfigDict) -> 'Plan':
    """Returns the plan of a config without a check of its values; `check.plan_of` checks them.

    Raises:
      UserError: as `phases_of` raises it.
    """
    return cls(config, tuple(phases_of(config)))

  @property
  def last(self) -> PlannedPhase:
    """The last phase, whose networks are the result of the run."""
    return self.phases[-1]

  @property
  def epochs(self) -> int:
    """Maximum number of epochs of all phases together."""
    return sum(phase.epochs for phase in self.phases)

  @property
  def watches_validation(self) -> bool:
    """Whether early stopping or the plateau schedule uses validation rows."""
    return any(own.stop.patience or own.schedule.name == 'plateau' for _, _, own in self.phases)

  @property
  def uses_unlabeled(self) -> bool:
    """Whether a method may learn from unlabeled rows: from a stream that needs no labels, or by setting targets."""
    methods = [phase.method for phase in self.phases]
    return any(m.refreshes or not all(v.labeled for v in m.streams.values()) for m in methods)

  def engine_phases(self, data: TrainData) -> list[Phase]:
    """Returns the phases for the engine.

    Args:
      data: the training rows.

    Raises:
      UserError: a phase has no rows, the model does not fit the images, or there are too few devices.
    """
    devices = self.config.devices or len(jax.devices())
    if devices > len(jax.devices()):
      raise UserError(f'devices: found {devices}, expected at most {len(jax.devices())}.')
    if jax.process_count() > 1 and devices < len(jax.devices()):
      raise UserError(f'devices: found {devices}; a run of several processes uses all {len(jax.devices())} devices.')
    return [_engine_phase(phase, data, devices, number == 0) for number, phase in enumerate(self.phases)]


def phases_of(config: ConfigDict) -> list[PlannedPhase]:
  """Returns the phases of a config: those that it lists, or otherwise those that its strategy plans.

  Raises:
    UserError: a phase is malformed, a strategy is unknown, or an override names a field that does not exist or applies
      to the whole run.
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
        raise UserError(f'phases[{i}]: {field} is of the whole run; a phase cannot set it. Set it in the config.')
    own = config.copy_and_resolve_references()
    override(own, overrides, f'phases[{i}]')
    out.append(PlannedPhase(name, epochs, own))
  return out


# Which training rows a phase may use, from given and verified labels [N].
ROWS = {
  'all': lambda given, verified: np.ones(len(given), bool),
  'labeled': lambda given, verified: given >= 0,
  'trusted': lambda given, verified: verified >= 0,
  'untrusted': lambda given, verified: verified < 0,
}


@functools.cache
def _mesh(count: int) -> jax.sharding.Mesh | None:
  """Returns the mesh of `count` devices; cached, because a new mesh would trace the step again. None for one device."""
  if count == 1:
    return None
  return jax.make_mesh((count,), ('data',), devices=jax.devices()[:count], axis_types=(jax.sharding.AxisType.Auto,))


def _engine_phase(planned: PlannedPhase, data: TrainData, devices: int, first: bool) -> Phase:
  """Returns a phase as the engine trains it; raises UserError if it needs rows that the data do not have."""
  name, epochs, c = planned
  method = planned.method
  rows = ROWS[c.rows](data.given, data.verified) & data.used
  if not rows.any():
    raise UserError(
      f'rows: {c.rows!r} leaves no row to phase {name!r} (of {len(rows)} training rows); expected all, labeled '
      '(rows with a given label), trusted (with a verified label) or untrusted (without one), of which there is a row.'
    )
  if 'verified' in method.needs and not (data.verified >= 0).any():
    raise UserError(
      f'strategy.name: {name!r} learns from verified rows, and no training row is one; expected data.verified '
      '(verified labels) or, if the true labels are known, data.trusted.'
    )
  model = build_model(c, data.classes + method.extra_classes)
  _check_kind(c, model, data)
  weights = find_weights(c)
  mean, std = pixel_statistics(c, model, data, weights)
  size, freeze = weights.size if weights else 0, c.model.freeze_stats
  net = Net(model, mean, std, method.networks, not c.model.vmap, size, weights, freeze)
  s, blocks = c.schedule, model.order() if c.optim.layer_decay < 1 else ()
  optimizer = optim.Optimizer(**c.optim, schedule=s.name, freeze=c.freeze, blocks=blocks)
  pipelines = (*((view, ops_of(c.augment[view], view, model)) for view in ('weak', 'strong')), ('none', ()))
  batch_size = _batch_size(c, name, method, rows, data, first)
  if c.devices and batch_size % devices:
    raise UserError(f'batch_size: {batch_size} cannot be spread over devices={devices}; expected a multiple of it.')
  if batch_size % devices:
    log.info('batch_size: %d is no multiple of %d devices; phase %r uses one device.', batch_size, devices, name)
  mesh = _mesh(devices if batch_size % devices == 0 else 1)
  spec = step.Spec(net, data.classes, batch_size, pipelines, c.mixup > 0, c.ema > 0, mesh)
  numbers = {f: s[f] for f in ('warmup', 'final', 'factor', 'milestones', 'restart', 'peak')}
  hyper = step.Hyper.build(
    optimizer,
    numbers,
    epochs=epochs,
    strength=strength_of(c),
    mixup=c.mixup or 1.0,
    ema=c.ema,
    ema_ramp=c.ema_ramp,
    stop=(c.stop.patience, c.stop.delta),
    plateau=(s.patience if s.name == 'plateau' else 0, s.factor),
  )
  per_call = c.per_call or (1 if jax.default_backend() == 'cpu' else 0)
  return Phase(
    name,
    method,
    spec,
    hyper,
    epochs,
    rows,
    c.labels,
    c.reset,
    c.stop.metric,
    c.steps_per_epoch,
    per_call,
    c.eval_batch_size,
    c.balance,
  )


def _batch_size(
  config: ConfigDict, name: str, method: strategy.Strategy, rows: np.ndarray, data: TrainData, first: bool
) -> int:
  """Returns the batch size of a phase.

  It is `config.batch_size`, or smaller if an epoch is one pass over fewer rows than that. A phase with a fixed number
  of steps per epoch keeps `config.batch_size` and repeats rows.

  Args:
    config: config of the phase.
    name: name of its strategy, for the log.
    method: its strategy.
    rows: bool [N], the rows that the phase may use.
    data: the training rows.
    first: whether it is the first phase.
  """
  if config.steps_per_epoch > 0:
    return config.batch_size
  views = next(iter(method.streams.values()))
  labels = config.labels or ('given' if first else '')  # '': targets of the previous phase
  if views.labeled and labels:
    rows = rows & (data.labels(labels) >= 0)
  usable = int(rows.sum()) // views.ratio
  size = fitting(config.batch_size, usable)
  if size < config.batch_size:
    log.info(
      'batch_size: %d is larger than the %d rows that phase %r trains on; %d is used.',
      config.batch_size,
      usable,
      name,
      size,
    )
  return size


def _check_kind(config: ConfigDict, model: Any, data: TrainData) -> None:
  """Raises UserError if a model of images is to learn from features, or a model of features from images."""
  _, height, width, channels = data.images.shape
  features = width == 1 and channels not in (1, 3, 4)
  if features != getattr(model, 'takes_features', False):
    found = f'features of {channels} numbers' if features else f'images of {width}x{height}'
    expected = 'linear or mlp' if features else 'data.features, such as efficientnet_lite0, or a model of images'
    raise UserError(f'model.name: {config.model.name!r} cannot learn from {found}; expected {expected}.')


# Operations of each view if the rows are features and the config names no operation for features.
FEATURE_VIEWS = {'weak': ('feature_view',), 'strong': ('feature_view', 'feature_noise')}


def ops_of(named: tuple[str, ...], view: str, model: Any) -> tuple[str, ...]:
  """Returns the operations of a view: those that the config names or, for features, the feature operations among them.

  Args:
    named: operations that the config names.
    view: "weak" or "strong".
    model: the model.
  """
  if not getattr(model, 'takes_features', False):
    return tuple(named)
  return tuple(op for op in named if op.startswith('feature_')) or FEATURE_VIEWS[view]


def fitting(batch_size: int, rows: int) -> int:
  """Returns `batch_size`, or the largest power of two up to `rows` if there are fewer rows.

  With powers of two, folds of similar sizes have the same batch size and share one compiled step.
  """
  return batch_size if batch_size <= rows else 1 << max(rows.bit_length() - 1, 0)


def pixel_statistics(
  config: ConfigDict, model: Any, data: TrainData, weights: Weights | None = None
) -> tuple[tuple, tuple]:
  """Returns the mean and standard deviation per channel, in 0-255, that normalise images.

  They come from the config, otherwise from the pretrained weights, otherwise from the training images. A model that
  takes raw pixels has mean 0 and deviation 1.

  The statistics of the training images exclude DROPPED rows and include HELD rows, so that all folds of a data set have
  the same statistics. They are rounded to whole numbers: they are static values of the compiled step, which folds and
  splits of one data set, whose statistics differ only in the decimals, then share.

  Gray images that the three statistics of pretrained weights normalise become color images of three equal channels.

  Args:
    config: config of the phase.
    model: its model.
    data: the training rows.
    weights: pretrained weights, or None.

  Raises:
    UserError: the config has another number of values than the images have channels.
  """
  channels = data.images.shape[-1]
  if getattr(model, 'raw', False):
    return (0.0,) * channels, (1.0,) * channels
  given = []
  for field in ('mean', 'std'):
    values = tuple(config.model[field] or (getattr(weights, field) if weights else ()))
    if values and len(values) != channels and (config.model[field] or channels > 1):
      raise UserError(f'model.{field}: found {len(values)} numbers, expected {channels}, one per channel.')
    given.append(values)
  if all(given):
    return given[0], given[1]
  mean, variance = moments(data.images, np.flatnonzero(data.status != Status.DROPPED))
  std = np.sqrt(np.maximum(variance, 1.0))
  rounded = lambda found: tuple(float(round(v)) for v in found)
  return given[0] or rounded(mean), given[1] or rounded(std)


def strength_of(config: ConfigDict) -> dict[str, Any]:
  """Returns the strengths of the augmentations: field → value."""
  return {k: v for k, v in config.augment.items() if k not in ('weak', 'strong')}
