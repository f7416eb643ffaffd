"""Builds strategies, models and weights from a config."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from noisyjax.config.plugin_fields import MODELS, STRATEGIES
from noisyjax.engine import strategy
from noisyjax.models.layers import conv
from noisyjax.models.weights import pretrained
from noisyjax.system import plugins


def find_strategy(name: str) -> type[strategy.Strategy]:
  """Returns the strategy class of this name; raises a UserError that lists all names if there is none."""
  return plugins.find(STRATEGIES, name, 'Strategy', 'strategy.name')


def find_model(name: str) -> type:
  """Returns the model class of this name; raises a UserError that lists all names if there is none."""
  return plugins.find(MODELS, name, 'Model', 'model.name')


def build_strategy(config: ConfigDict, name: str) -> strategy.Strategy:
  """Returns a strategy with the fields of the config."""
  return find_strategy(name).build(**config.strategy[name])


def build_model(config: ConfigDict, classes: int) -> Any:
  """Returns the model with the fields of the config, and resolves `model.conv = "auto"`."""
  cls = find_model(config.model.name)
  shared = {'dtype': config.model.dtype, 'conv': config.model.conv}
  if shared['conv'] == 'auto':
    shared['conv'] = conv.fastest()
  known = {f.name for f in dataclasses.fields(cls)}
  return cls(classes=classes, **{k: v for k, v in shared.items() if k in known}, **config.model[config.model.name])


def find_weights(config: ConfigDict) -> pretrained.Weights | None:
  """Returns the weights that `model.weights` names, or None if it names none; raises what `pretrained.find` raises."""
  name = config.model.name
  return pretrained.find(find_model(name), config.model.weights, name) if config.model.weights else None
