"""A run without a workdir: from arrays to a function from images to class probabilities."""

import dataclasses
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax import config as configs, step, train
from noisyjax.errors import Diverged
from noisyjax.net import Net
from noisyjax.state import Snapshot
from noisyjax.strategy import TrainData

PyTree = Any


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
  """

  config: ConfigDict
  strategy: str
  classes: int
  networks: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  weights: PyTree

  def probs(self, images: np.ndarray, chunk: int = 0) -> np.ndarray:
    """Returns float32 [n, classes], the vote of the networks on images uint8 [n, H, W, C].

    Args:
      images: any number.
      chunk: images a forward pass; 0: the config's.
    Raises:
      Diverged: a prediction that is not finite.
    """
    strategy = configs.build_strategy(self.config, self.strategy)
    model = configs.build_model(self.config, self.classes + strategy.extra_classes)
    if not hasattr(model, 'apply'):
      return model.predict_proba(self.weights, images)
    net = Net(model, self.mean, self.std, self.networks, unroll=not self.config.model.vmap)
    probs = step.predict(net, strategy, self.weights, images, chunk or self.config.eval_batch_size)[0]
    if not np.isfinite(probs).all():
      raise Diverged('The predictions are not finite. Try a smaller optim.lr, or optim.clip.')
    return probs


class Silent:
  """The hooks of a run that nobody watches; a loss that is not finite still ends it."""

  def begin(self, phase, position, state) -> None:
    pass

  def step(self, phase, position, state, count: int, tick: int) -> None:
    pass

  def epoch(self, phase, position, state, record: dict) -> None:
    if int(state.bad_step) >= 0:
      raise Diverged(
        f'The loss is not finite at step {int(state.bad_step) + 1}. Try a smaller optim.lr, or optim.clip.'
      )


def fit(config: ConfigDict, data: TrainData, hooks: train.Hooks | None = None) -> Trained:
  """Trains by `config` on `data`, without validation; the last epoch is what remains.

  Args:
    config: as `configs/base.py` builds it; its data, noise and checkpoint fields are not looked at.
    data: the training rows.
    hooks: who watches; None: nobody.
  Raises:
    UserError: a bad config.
    Diverged: a loss or a parameter that is not finite.
  """
  config = configs.check(config)
  model = configs.find_model(config.model.name)
  if not hasattr(model, 'apply'):  # a classic estimator
    labels = data.given if data.weight is None else np.where(data.weight > 0, data.given, -1)
    weights = configs.build_model(config, data.classes).fit(data.images, labels)
    return Trained(config, 'naive', data.classes, 1, (), (), weights)
  plan = configs.plan(config, data)
  state, _ = train.fit(plan, data, None, jax.random.key(config.seed), hooks or Silent())
  name, _, own = configs.phases(config)[-1]
  net = plan[-1].spec.net
  weights = Snapshot(*jax.device_get((state.current.params, state.current.stats)))
  if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights)):  # by the last step: no loss has seen it
    raise Diverged('The parameters are not finite after the last step. Try a smaller optim.lr, or optim.clip.')
  return Trained(own, name, data.classes, net.networks, net.mean, net.std, weights)
