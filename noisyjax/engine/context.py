"""The context that the engine passes to a strategy's `loss` and `refresh`: networks, a random key and the progress."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import Array

from noisyjax.engine import placement
from noisyjax.engine.state import PyTree, Snapshot


class Ctx:
  """The context of one call of `loss` or `refresh`; it is valid only while that call is traced.

  Attributes:
    key: random key of this step; in `refresh`, of this epoch. `net` folds 0, 1, … into it, one number per call. For its
      own keys a strategy folds in numbers from 2^16 on.
    epoch: int32, completed epochs of the phase.
    epochs: float32, length of the phase.
    progress: float32 in [0, 1), completed fraction of the phase.
    classes: number of classes C.
    lr: float32, learning rate of the networks at this step; None in `refresh`.
    rows: bool [N], the rows that the phase may use; None in `loss`, whose batches contain no other rows.
    previous_state: in `refresh` on entering a phase, the final TrainState of the previous phase; otherwise None.
    stats: running statistics of the networks after the calls so far.
    passes: images through a network so far: 1 for a forward pass, 3 for forward and backward.
  """

  def __init__(
    self,
    key: Array,
    epoch: Array,
    epochs: Array,
    progress: Array,
    classes: int,
    net: Any = None,  # a Net; None in `refresh`, and so is `state`
    state: Any = None,  # a TrainState
    lr: Any = None,
    rows: Any = None,
    previous_state: Any = None,
  ) -> None:
    self.key, self.epoch, self.epochs, self.progress, self.classes = key, epoch, epochs, progress, classes
    self.lr, self.rows, self.previous_state = lr, rows, previous_state
    self._net, self._state, self._calls = net, state, 0
    self.stats = None if state is None else state.stats
    self.passes = 0

  def net(self, params: PyTree, images: Array, keep: bool = True) -> tuple[Array, Array]:
    """Runs the networks in training mode: dropout is on, batch norm uses the statistics of these images.

    Args:
      params: the argument `params` of `loss`; its entry "net" is used and differentiated.
      images: [B, H, W, channels], the same for all networks, or [M, B, H, W, channels], in 0–255.
      keep: whether to update the running statistics; use False for virtual steps inside an inner gradient.

    Returns:
      logits [M, B, C] and features [M, B, F].
    """
    key = jax.random.fold_in(self.key, self._calls)
    self._calls += 1
    self.passes += 3 * self._net.image_count(images)
    logits, features, stats = self._net.train(params['net'], self.stats, images, key)
    if keep:
      self.stats = stats
    # Networks are spread over the devices; what follows their predictions is small, and each device computes all of it.
    return placement.gathered(logits), features

  def guess(self, images: Array, keep: bool = True, averaged: bool = False) -> tuple[Array, Array]:
    """Runs the networks in training mode without a gradient.

    Args:
      images: as in `net`.
      keep: as in `net`.
      averaged: whether to run the averaged networks, if the run keeps an average; their statistics do not change.

    Returns:
      As `net`.
    """
    self.passes -= 2 * self._net.image_count(images)  # `net` counts 3; a forward pass alone is 1
    params = {'net': self._state.current.params} if averaged else self._state.params
    return jax.lax.stop_gradient(self.net(params, images, keep and not averaged))

  def look(self, images: Array, averaged: bool = False) -> tuple[Array, Array]:
    """Runs the networks in evaluation mode: no dropout, running statistics, no gradient. Changes no statistics.

    Args:
      images: as in `net`.
      averaged: whether to run the averaged networks, if the run keeps an average (`config.ema`).

    Returns:
      As `net`.
    """
    self.passes += self._net.image_count(images)
    now = self._state.current if averaged else Snapshot(self._state.params['net'], self._state.stats)
    logits, features = jax.lax.stop_gradient(self._net.look(now.params, now.stats, images))
    return placement.gathered(logits), features

  def mixed(self, loss: Callable[[Array], Array], batch: Mapping[str, Any]) -> Array:
    """Returns the loss per example, with or without mixup.

    Args:
      loss: target [B, C] → loss per example [M, B].
      batch: batch of one labeled stream.

    Returns:
      `loss(target)`, [M, B]. With mixup and `mix = "loss"`, the losses of both targets, weighted `lam` and 1 − `lam`.
    """
    if 'partner' not in batch:
      return loss(batch['target'])
    return batch['lam'] * loss(batch['target']) + (1 - batch['lam']) * loss(batch['partner'])
