"""What may be wrong with a config: values, names, contradictions."""

import re

from ml_collections import ConfigDict

from noisyjax.config import fields
from noisyjax.config.build import build_strategy, find_model, find_weights
from noisyjax.config.flat import flat
from noisyjax.config.override import defaults, set_field
from noisyjax.config.plan import ROWS, Plan, strength_of
from noisyjax.config.plugin_fields import adopt
from noisyjax.data import features
from noisyjax.engine import optim
from noisyjax.engine.augment.ops import check_ops
from noisyjax.engine.augment.strength import check_strength
from noisyjax.models.layers import conv
from noisyjax.system.cadence import Cadence
from noisyjax.system.errors import UserError, check_choice


def checked(config: ConfigDict) -> ConfigDict:
  """Returns the checked copy of a config; see `plan_of`."""
  return plan_of(config).config


def plan_of(config: ConfigDict) -> Plan:
  """Checks a config before anything is loaded or written, and resolves it.

  Returns:
    The plan of a copy in which every value is of its field's kind: 1 is 1.0, a list is a tuple, a class 7 is "7".
  Raises:
    UserError: naming the field, its value and what was expected; unknown names, values out of range, contradictions.
  """
  config = _settled(config)
  _check_values(config)
  find_model(config.model.name)
  plan = Plan.of(config)
  if plan.phases[0].method.refresh_on == 'phase':
    raise UserError(
      f'phases[0]: {plan.phases[0].strategy!r} asks the networks of the phase before it, and there is none; expected, '
      "before it, such as ('naive', 10, {'rows': 'trusted', 'labels': 'verified'})."
    )
  for name, _, own in plan.phases:
    if not hasattr(find_model(own.model.name), 'apply') and own.model.name != config.model.name:
      raise UserError(f'phases: model {own.model.name!r} is fitted in one go, and cannot be a phase.')
    _check_values(own)
    find_weights(own)
    if own.data.features and not getattr(find_model(own.model.name), 'takes_features', False):
      raise UserError(
        f'model.name: {own.model.name!r} takes images; with data.features={own.data.features}, expected linear or mlp.'
      )
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
      check_ops(f'augment.{view}', own.augment[view])
    check_strength('augment', strength_of(own))
  check_choice('model.conv', config.model.conv, ('auto', *conv.KINDS))
  if config.data.features:
    features.extractor(config.data.features)
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
  return plan


def complete(config: ConfigDict, where: str) -> None:
  """Raises UserError, naming `where` and a field that the config does not have, unless it has every field."""
  known = flat(config)
  missing = [field for field in defaults() if field not in known]
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
      value = fields.converted(field, defaults().get(field, found), found)
      if repr(value) != repr(found):  # (1, 2) equals (1.0, 2.0)
        set_field(config, field, value)
    except ValueError as error:
      raise UserError(f'{field}: expected {error}, found {fields.shown(found)}.') from None
  adopt(config)
  return config


def _check_values(config: ConfigDict) -> None:
  """Raises UserError for a value out of its field's range or choices."""
  for field, value in flat(config).items():
    fields.check(field, value)
