"""Runs without a workdir: training on arrays gives a function from images to class probabilities."""

import dataclasses
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax.config import defaults
from noisyjax.config.build import build_model, build_strategy, find_model
from noisyjax.config.check import plan_of
from noisyjax.config.plan import Plan
from noisyjax.data.training import TrainData
from noisyjax.engine import score, train
from noisyjax.engine.net import Net
from noisyjax.engine.phase import Phase
from noisyjax.engine.state import PyTree, Snapshot, TrainState
from noisyjax.models.protocol import is_trained
from noisyjax.runs import classic
from noisyjax.system.errors import Diverged


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
  """The result of training. It contains plain data only, so it can be pickled and copied.

  Attributes:
    config: config of the last phase.
    strategy: name of the strategy of the last phase.
    classes: number of classes.
    networks: number of networks M.
    mean: mean of the pixels per channel, in 0-255; () for a classic estimator.
    std: standard deviation of the pixels per channel, in 0-255; () for a classic estimator.
    weights: `Snapshot` of numpy arrays; for a classic estimator, the arrays that its `fit` returned.
    size: side in pixels to which the networks resize images; 0: images keep their size.
  """

  config: ConfigDict
  strategy: str
  classes: int
  networks: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  weights: PyTree
  size: int = 0

  def probs(self, images: Any, chunk: int = 0) -> np.ndarray:
    """Returns the class probabilities of the vote of the networks, float32 [n, classes].

    Args:
      images: `Images`, or uint8 [n, H, W, C].
      chunk: images per forward pass; 0: `eval_batch_size` of the config.

    Raises:
      Diverged: a prediction is not finite.
    """
    strategy = build_strategy(self.config, self.strategy)
    model = build_model(self.config, self.classes + strategy.extra_classes)
    if not is_trained(model):
      return model.predict_proba(self.weights, np.asarray(images))
    net = Net(model, self.mean, self.std, self.networks, not self.config.model.vmap, self.size)
    probs = score.predict(net, strategy, self.weights, images, chunk or self.config.eval_batch_size)[0]
    if not np.isfinite(probs).all():
      raise Diverged(f'The predictions are not finite. {Diverged.HINT}')
    return probs


class Silent:
  """Hooks that record nothing and stop a run whose loss is not finite, see `train.Hooks`."""

  def begin(self, phase: Phase, position: train.Position, state: TrainState) -> None:
    """Does nothing."""

  def step(self, phase: Phase, position: train.Position, state: TrainState, count: int, tick: int) -> None:
    """Does nothing."""

  def epoch(self, phase: Phase, position: train.Position, state: TrainState, record: dict[str, Any]) -> None:
    """Raises Diverged if the loss of a step was not finite."""
    if int(state.bad_step) >= 0:
      raise Diverged(f'The loss is not finite at step {int(state.bad_step) + 1}. {Diverged.HINT}')


def recipe() -> ConfigDict:
  """Returns the default config of `find_label_issues`: a small CNN, 20 epochs, mixup, random shifts, no flips.

  Mixup keeps the networks from memorizing wrong labels; without it, memorization costs most of the detection. An epoch
  has at least 10 steps, so it repeats the rows of a small data set. Shifts are proportional to the image's side.
  """
  c = defaults.get_config()
  c.batch_size = 64
  c.steps_per_epoch = -10
  c.model.small_cnn.widths = (32, 64, 128)
  c.optim.lr = 0.1
  c.mixup = 1.0
  c.augment.weak = ('crop',)
  c.data.val = c.data.test = ''
  return c


def probe() -> ConfigDict:
  """Returns the default config for a linear model on features: 20 epochs of at least 50 steps."""
  c = defaults.get_config()
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.model.name = 'linear'
  c.optim.lr = 0.5
  c.data.val = c.data.test = ''
  return c


def fit(config: ConfigDict | Plan, data: TrainData, hooks: train.Hooks | None = None) -> Trained:
  """Trains without validation and returns the networks of the last epoch.

  Args:
    config: config, as `configs/base.py` builds it, or its plan. Fields of data, noise and checkpoints are checked, but
      not used.
    data: training rows.
    hooks: callbacks of `train.fit`; None: `Silent`. A classic estimator does not call them.

  Raises:
    UserError: the config is invalid.
    Diverged: a loss or a parameter is not finite.
  """
  plan = config if isinstance(config, Plan) else plan_of(config)
  config = plan.config
  if not is_trained(find_model(config.model.name)):
    _, weights = classic.fitted(config, data)
    return Trained(config, 'naive', data.classes, 1, (), (), weights)
  phases = plan.engine_phases(data)
  state, _ = train.fit(phases, data, None, jax.random.key(config.seed), hooks or Silent())
  name, _, own = plan.last
  net = phases[-1].spec.net
  weights = Snapshot(*jax.device_get((state.current.params, state.current.stats)))
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)):  # no loss is computed after the last step
    raise Diverged(f'The parameters are not finite after the last step. {Diverged.HINT}')
  return Trained(own, name, data.classes, net.networks, net.mean, net.std, weights, net.size)
