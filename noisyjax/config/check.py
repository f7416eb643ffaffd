"""Checks a config: values, names and contradictions."""

import re

from ml_collections import ConfigDict

from noisyjax.config import fields
from noisyjax.config.build import build_strategy, find_model, find_weights
from noisyjax.config.flat import flat
from noisyjax.config.override import defaults, set_field
from noisyjax.config.plan import ROWS, Plan, strength_of
from noisyjax.config.plugin_fields import MODELS, adopt
from noisyjax.data import features, labels
from noisyjax.engine import optim
from noisyjax.engine.augment.ops import check_ops
from noisyjax.engine.augment.strength import check_strength
from noisyjax.models.layers import conv
from noisyjax.models.protocol import is_trained
from noisyjax.system import plugins
from noisyjax.system.cadence import Cadence
from noisyjax.system.errors import UserError, check_choice, listed


def checked(config: ConfigDict) -> ConfigDict:
  """Returns the checked copy of a config; see `plan_of`."""
  return plan_of(config).config


def plan_of(config: ConfigDict) -> Plan:
  """Checks a config and resolves it, before data are loaded or files written. Plug-ins that it names are executed.

  Returns:
    The plan of a copy of the config in which every value has the type of its field. For example 1 becomes 1.0, a list
    becomes a tuple, and the class 7 becomes "7".

  Raises:
    UserError: a name is unknown, a value is out of range, or values contradict one another. The message names the
      field, its value and what was expected.
  """
  if 'loop' in config:
    raise UserError('--config: has a block loop, which only the command loop reads; expected a recipe without it.')
  config = _converted(config)
  _check_values(config)
  find_model(config.model.name)
  plan = Plan.of(config)
  if plan.phases[0].method.refresh_on == 'phase':
    raise UserError(
      f'phases[0]: {plan.phases[0].strategy!r} uses the networks of the previous phase, and there is none; expected a '
      "phase before it, such as ('naive', 10, {'rows': 'trusted', 'labels': 'verified'})."
    )
  for name, _, own in plan.phases:
    if not is_trained(find_model(own.model.name)) and own.model.name != config.model.name:
      raise UserError(
        f'phases: model {own.model.name!r} is fitted at once, without gradient descent, and cannot be used in a phase; '
        'expected a neural network.'
      )
    _check_phase(own, name)
  _check_run(config)
  return plan


def _check_phase(own: ConfigDict, name: str) -> None:
  """Raises UserError if the fields of one phase, which trains with strategy `name`, contradict one another."""
  _check_values(own)
  find_weights(own)
  if own.data.features and not getattr(find_model(own.model.name), 'takes_features', False):
    raise UserError(
      f'model.name: {own.model.name!r} takes images; with data.features={own.data.features}, expected linear or mlp.'
    )
  check_choice('optim.name', own.optim.name, optim.OPTIMIZERS)
  if own.optim.layer_decay < 1 and not hasattr(find_model(own.model.name), 'order'):
    ordered = [name for name in plugins.names(MODELS, 'Model') if hasattr(find_model(name), 'order')]
    raise UserError(
      f'optim.layer_decay: {own.optim.layer_decay} needs an order of blocks, which model {own.model.name!r} does not '
      f'define; expected 1, or one of the models {listed(ordered)}.'
    )
  check_choice('schedule.name', own.schedule.name, optim.SCHEDULES)
  check_choice('rows', own.rows, ROWS)
  if own.mixup and build_strategy(own, name).mix is None:
    raise UserError(f'mixup: {own.mixup} contradicts strategy {name!r}, for which mixup is not defined; expected 0.')
  if own.schedule.name == 'plateau' and not own.data.val:
    raise UserError(
      "schedule.name: 'plateau' needs validation rows, and data.val is empty; expected such as data.val='0.1'."
    )
  if own.stop.patience and not own.data.val:
    raise UserError(
      f'stop.patience: {own.stop.patience} needs validation rows, and data.val is empty; expected stop.patience=0 or '
      "validation rows such as data.val='0.1'."
    )
  for field in ('reset', 'freeze'):
    try:
      re.compile(own[field])
    except re.error as error:
      raise UserError(f'{field}: {own[field]!r} is not a regular expression: {error}.') from None
  for view in ('weak', 'strong'):
    check_ops(f'augment.{view}', own.augment[view])
  check_strength('augment', strength_of(own))


def _check_run(config: ConfigDict) -> None:
  """Raises UserError if fields of the whole run contradict one another."""
  check_choice('model.conv', config.model.conv, ('auto', *conv.KINDS))
  if config.data.features:
    features.extractor(config.data.features)
  if both := {*labels.words(config.data.unlabeled)} & {*map(str, config.data.classes)}:
    raise UserError(
      f'data.classes: found {min(both)!r}, which data.unlabeled defines as the name of unlabeled rows; '
      'expected only classes.'
    )
  try:
    Cadence(config.checkpoint.every, 1, 1)
  except UserError as error:
    raise UserError(f'checkpoint.every: {error}') from None
  if not is_trained(find_model(config.model.name)) and (
    config.strategy.name != 'naive' or config.phases or config.mixup or config.rows != 'all' or config.labels
  ):
    raise UserError(
      f'model.name: {config.model.name!r} is fitted at once to the given labels of all rows, without gradient descent; '
      "expected strategy.name='naive', rows='all' and no phases, labels or mixup."
    )


def complete(config: ConfigDict, where: str) -> None:
  """Raises UserError if the config lacks a field; the message names `where` and the field."""
  known = flat(config)
  missing = [field for field in defaults() if field not in known]
  if missing:
    raise UserError(
      f'{where}: the config has no field {missing[0]!r} ({len(missing)} missing); expected a config that is built from '
      'base.get_config() of configs/base.py.'
    )


def _converted(config: ConfigDict) -> ConfigDict:
  """Returns a copy in which plug-ins are loaded and every value has the type of its field."""
  config = config.copy_and_resolve_references()
  complete(config, 'config')
  for field, found in flat(config).items():
    try:
      value = fields.converted(field, defaults().get(field, found), found)
      if repr(value) != repr(found):  # (1, 2) equals (1.0, 2.0)
        set_field(config, field, value)
    except ValueError as error:
      raise UserError(f'{field}: expected {error}, found {fields.shown(found)}.') from None
  adopt(config)
  return config


def _check_values(config: ConfigDict) -> None:
  """Raises UserError if a value is out of its field's range or not one of its choices."""
  for field, value in flat(config).items():
    fields.check(field, value)
