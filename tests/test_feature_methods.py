"""Every strategy learns from features: its recipe, shortened, on rows of two views and with a model of features.

The rows are of three classes, a sixth of them under a wrong label, a quarter verified, a sixth without a given label.
"""

import functools
import importlib

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from configs import base
from noisyjax.config.check import plan_of
from noisyjax.config.override import override
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.data.training import TrainData
from noisyjax.runs import in_memory
from noisyjax.system import plugins

NAMES = plugins.names(STRATEGIES, 'Strategy')
PHASES = ('aum_margins', 'fold_networks')  # strategies that are a phase of another's recipe
ROWS, WIDTH = 96, 6
TRUE = np.arange(ROWS) % 3
GIVEN = np.where(np.arange(ROWS) % 6 == 1, (TRUE + 1) % 3, TRUE)
UNLABELED = np.arange(ROWS) % 6 == 5


def views(seed: int = 0) -> np.ndarray:
  """Two views of each row, float16 [N, 2, 1, F]; another seed changes the second view alone."""
  centre = 3 * np.eye(3, WIDTH)[TRUE]
  drawn = [np.random.RandomState(s).standard_normal((ROWS, WIDTH)) + centre for s in (7, seed)]
  return np.stack(drawn, 1)[:, :, None].astype(np.float16)


def rows(values: np.ndarray) -> TrainData:
  verified = np.where(np.arange(ROWS) % 4 == 0, TRUE, -1)
  return TrainData(values, np.int32(np.where(UNLABELED, -1, GIVEN)), np.int32(verified), 3)


# In twelve steps JoCoR's agreement, at 0.9, leaves cross-entropy too little, and MixMatch's average lags behind.
OWN = {'jocor': {'strategy.jocor.agree': 0.3}, 'mixmatch': {'steps_per_epoch': 30}}


def config_of(name: str, model: str):
  """The recipe's config, as short as its method allows, with a model of features and all its own views."""
  least = {'strategy.name': name, 'model.name': model, 'batch_size': 16, 'steps_per_epoch': 6, 'optim.lr': 0.5}
  if name in PHASES:
    c = base.get_config()
    c.epochs = 2
  else:
    c = importlib.import_module(f'configs.recipes.{name}').get_config('worse-short2')
  override(c, least | {'data.val': '', 'data.test': ''} | OWN.get(name, {}), 'test')
  return c


@functools.cache
def plan(name: str, model: str):
  return plan_of(config_of(name, model))


def trained(name: str, model: str, seed: int = 0):
  return in_memory.fit(plan(name, model), rows(views(seed)))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('model', [pytest.param('linear', marks=pytest.mark.slow), 'mlp'])
def test_a_recipe_learns_from_features_and_meets_every_view(name, model):
  found = trained(name, model)
  predicted = found.probs(views()).argmax(1)
  assert np.mean(predicted == TRUE) > 0.5
  # Prediction looks at the first view; training meets the others, too.
  assert_array_equal(found.probs(views(seed=1)), found.probs(views()))
  other = trained(name, model, seed=1)
  pairs = zip(jax.tree.leaves(found.weights.params), jax.tree.leaves(other.weights.params))
  assert any(np.abs(a - b).max() > 1e-6 for a, b in pairs)
