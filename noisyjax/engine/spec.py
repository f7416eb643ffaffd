"""What a phase fixes for its steps: what is static, what is traced, and the random keys."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from flax import struct
from jax import Array

from noisyjax.engine import optim
from noisyjax.engine.augment.strength import Strength, check_strength
from noisyjax.engine.net import Net


@dataclasses.dataclass(frozen=True)
class Spec:
  """The static values of a phase.

  Attributes:
    net: the networks.
    classes: number of classes, C.
    batch_size: rows per step in a stream of ratio 1.
    pipelines: (name, augmentation ops) of each pipeline.
    mixup: whether mixup is on.
    ema: whether the run keeps an exponential moving average of the networks.
    mesh: devices that share the batch; None for one device.
  """

  net: Net
  classes: int
  batch_size: int
  pipelines: tuple[tuple[str, tuple[str, ...]], ...]
  mixup: bool = False
  ema: bool = False
  mesh: Any = None


class Hyper(struct.PyTreeNode):
  """The traced values of a phase: numbers only.

  Attributes:
    optimizer: the optimizer; its static fields remain static here.
    schedule: numbers of the learning rate schedule.
    strength: strength of each augmentation.
    epochs: maximum number of epochs of the phase.
    steps: steps per epoch.
    mixup: alpha of the Beta distribution.
    ema: decay of the exponential moving average.
    ema_ramp: steps over which that decay rises, see `step.average_decay`; 0 = quickly.
    stop: (patience in epochs, minimum improvement) of early stopping; patience 0 turns it off.
    plateau: (patience in epochs, factor on the learning rate) of the plateau schedule; patience 0 turns it off.
  """

  optimizer: optim.Optimizer
  schedule: optim.Schedule
  strength: Strength
  epochs: Array
  steps: Array
  mixup: Array
  ema: Array
  ema_ramp: Array
  stop: tuple[Array, Array]
  plateau: tuple[Array, Array]

  @classmethod
  def build(
    cls,
    optimizer: optim.Optimizer,
    schedule: Mapping[str, Any] = MappingProxyType({}),
    *,
    epochs: float = 1,
    steps: float = 1,
    strength: Mapping[str, Any] = MappingProxyType({}),
    mixup: float = 1.0,
    ema: float = 0.0,
    ema_ramp: float = 0.0,
    stop: tuple[int, float] = (0, 0.0),
    plateau: tuple[int, float] = (0, 0.5),
  ) -> 'Hyper':
    """Returns the numbers of a phase, each cast to a fixed type, so that a new value does not trace the step again.

    Args:
      optimizer: see above.
      schedule: fields of `optim.Schedule`; missing fields have defaults.
      epochs: see above.
      steps: see above.
      strength: fields of `Strength`, by their names in the config; missing fields have defaults.
      mixup: see above.
      ema: see above.
      ema_ramp: see above.
      stop: see above.
      plateau: see above.

    Raises:
      UserError: a strength is out of range.
    """
    f32: Callable[[Any], Any] = np.float32  # a NumPy scalar; a compiled step takes it as an array
    i32: Callable[[Any], Any] = np.int32
    numbers: dict[str, Any] = {
      'warmup': 0,
      'final': 0,
      'factor': 0.1,
      'milestones': (),
      'restart': 10,
      'peak': 0.25,
    } | dict(schedule)
    curve: dict[str, Any] = {name: np.asarray(value, np.float32) for name, value in numbers.items()}
    return cls(
      optimizer=jax.tree.map(np.float32, optimizer),
      schedule=optim.Schedule(**curve),
      strength=jax.tree.map(np.float32, check_strength('augment', dict(strength))),
      epochs=f32(epochs),
      steps=f32(steps),
      mixup=f32(mixup),
      ema=f32(ema),
      ema_ramp=f32(ema_ramp),
      stop=(i32(stop[0]), f32(stop[1])),
      plateau=(i32(plateau[0]), f32(plateau[1])),
    )


class Keys(struct.PyTreeNode):
  """Named children of the run's key.

  The order of the rows and their augmentation have keys of their own, so that both are the same for all strategies.

  Attributes:
    walk: key of the order of the rows.
    views: key of the augmentation.
    step: key of the loss: dropout and the strategy's random numbers.
    refresh: key of the strategy's `refresh`.
  """

  walk: Array
  views: Array
  step: Array
  refresh: Array


def run_keys(root: Array) -> Keys:
  """Returns the named children of the run's key."""
  return Keys(*(jax.random.fold_in(root, i) for i in range(1, 5)))
