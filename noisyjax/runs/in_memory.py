"""A run without a workdir: from arrays to a function from images to class probabilities."""

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
  """What training leaves: plain data, which can be pickled and copied.

  Attributes:
    config: of the last phase.
    strategy: name of the last phase's strategy.
    classes: number of classes.
    networks: M.
    mean: of the pixels, one a channel, in 0-255; empty for a classic estimator.
    std: of the pixels, likewise.
    weights: `Snapshot` of numpy arrays; of a classic estimator, its own arrays.
    size: side in pixels to which the networks resize images; 0: they take them as they are.
  """

  config: ConfigDict
  strategy: str
  classes: int
  networks: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  weights: PyTree
  size: int = 0

  def probs(self, images: np.ndarray, chunk: int = 0) -> np.ndarray:
    """Returns float32 [n, classes], the vote of the networks on images uint8 [n, H, W, C].

    Args:
      images: any number.
      chunk: images a forward pass; 0: the config's.
    Raises:
      Diverged: a prediction that is not finite.
    """
    strategy = build_strategy(self.config, self.strategy)
    model = build_model(self.config, self.classes + strategy.extra_classes)
    if not is_trained(model):
      return model.predict_proba(self.weights, images)
    net = Net(model, self.mean, self.std, self.networks, not self.config.model.vmap, self.size)
    probs = score.predict(net, strategy, self.weights, images, chunk or self.config.eval_batch_size)[0]
    if not np.isfinite(probs).all():
      raise Diverged(f'The predictions are not finite. {Diverged.HINT}')
    return probs


class Silent:
  """The hooks of a run that nobody watches; a loss that is not finite still ends it."""

  def begin(self, phase: Phase, position: train.Position, state: TrainState) -> None:
    pass

  def step(self, phase: Phase, position: train.Position, state: TrainState, count: int, tick: int) -> None:
    pass

  def epoch(self, phase: Phase, position: train.Position, state: TrainState, record: dict[str, Any]) -> None:
    if int(state.bad_step) >= 0:
      raise Diverged(f'The loss is not finite at step {int(state.bad_step) + 1}. {Diverged.HINT}')


def recipe() -> ConfigDict:
  """Returns the config that `find_label_issues` trains by: a small CNN, 20 epochs of mixup, shifted images, no flips.

  mixup keeps the networks from learning wrong labels by heart, which costs most of the detection otherwise. Few images
  are walked several times an epoch, and small ones are shifted less.
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
  """Returns the config by which a linear layer learns from features: 20 epochs of 50 steps or more."""
  c = defaults.get_config()
  c.batch_size = 32
  c.steps_per_epoch = -50
  c.model.name = 'linear'
  c.optim.lr = 0.5
  c.data.val = c.data.test = ''
  return c


def fit(config: ConfigDict | Plan, data: TrainData, hooks: train.Hooks | None = None) -> Trained:
  """Trains by `config` on `data`, without validation; the last epoch is what remains.

  Args:
    config: as `configs/base.py` builds it; its data, noise and checkpoint fields are checked but not used.
    data: the training rows.
    hooks: who watches; None: nobody.
  Raises:
    UserError: a bad config.
    Diverged: a loss or a parameter that is not finite.
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
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)):  # by the last step: no loss has seen it
    raise Diverged(f'The parameters are not finite after the last step. {Diverged.HINT}')
  return Trained(own, name, data.classes, net.networks, net.mean, net.std, weights, net.size)
