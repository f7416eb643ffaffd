"""What a run carries from step to step: everything a resume needs, and nothing random."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array

from noisyjax.engine.dynamics import Dynamics

PyTree = Any


class Targets(struct.PyTreeNode):
  """What the run trains on. Written only by a strategy's `refresh`, between epochs.

  Attributes:
    label: int32 [N], -1 = unlabeled.
    soft: float32 [N, C] or None where labels are hard.
    weight: float32 [N]; rows of weight 0 enter nothing.
    trust: float32 [M, N], each network's belief that the label is right.
  """

  label: Array
  soft: Array | None
  weight: Array
  trust: Array

  @property
  def labeled(self) -> Array:
    """bool [N]: rows that have a label, hard or soft."""
    return self.label >= 0 if self.soft is None else (self.label >= 0) | (self.soft.sum(-1) > 0)

  def counted(self, rows: Array) -> Array:
    """Returns bool [N]: those of `rows` (bool [N]) that have a label and a weight."""
    return rows & (self.weight > 0) & self.labeled


class Control(struct.PyTreeNode):
  """Early stopping, the plateau schedule and the choice of the best epoch, as data.

  Attributes:
    best: best value of the watched metric so far in this phase (smaller is better).
    wait: int32, epochs since then.
    plateau: int32, epochs since the last improvement or the last cut of the learning rate.
    lr_scale: factor on the learning rate.
    stopped: bool.
    best_accuracy, best_epoch: best validation accuracy in this phase and in those that it continues, and the (global)
      epoch it was reached in.
  """

  best: Array
  wait: Array
  plateau: Array
  lr_scale: Array
  stopped: Array
  best_accuracy: Array
  best_epoch: Array


class Snapshot(struct.PyTreeNode):
  """Networks as they are evaluated: parameters and running statistics, each with a leading axis M."""

  params: PyTree
  stats: PyTree


class TrainState(struct.PyTreeNode):
  """All that a resume needs.

  Attributes:
    step: int32, optimizer steps since the run began. epoch: int32, epochs since then; phase_epoch: since the phase
      began. tick: int32, steps since the epoch began.
    params: {"net": trees with a leading axis M, "own": learnables beside the networks}.
    stats: running statistics, leading axis M.
    opt: {"net": …, "own": …}.
    targets, extra: see Targets and Strategy.
    masks: this epoch's members of each stream; a strategy's `members` and `refresh` come before, and do not see them.
    ema: Snapshot of averaged networks, or None.
    best: Snapshot at control.best_epoch.
    bad_step: int32, the first step whose loss was not finite, or -1.
  """

  step: Array
  epoch: Array
  phase_epoch: Array
  tick: Array
  params: PyTree
  stats: PyTree
  opt: PyTree
  targets: Targets
  extra: PyTree
  masks: PyTree
  ema: Snapshot | None
  best: Snapshot
  dynamics: Dynamics
  control: Control
  bad_step: Array

  @property
  def current(self) -> Snapshot:
    """The networks to evaluate: the averaged ones where there are any."""
    return self.ema if self.ema is not None else Snapshot(self.params['net'], self.stats)


def new_control() -> Control:
  """Returns the control of a phase that has just begun."""
  # Distinct buffers with strong types: a donated state may not hold one array twice.
  f = lambda v: jnp.array(v, jnp.float32)
  i = lambda v: jnp.array(v, jnp.int32)
  return Control(f(jnp.inf), i(0), i(0), f(1.0), jnp.array(False), f(-1.0), i(0))


def observe(
  control: Control,
  value: Array,
  accuracy: Array,
  epoch: Array,
  stop: tuple[Array, Array],
  schedule: tuple[Array, Array],
) -> tuple[Control, Array]:
  """Takes in one epoch's validation figures.

  Args:
    control: as it was.
    value: the watched metric, smaller is better. accuracy: validation accuracy; below 0 where there is none, and the
      latest epoch is then the best. epoch: the global epoch just done.
    stop: (patience in epochs, 0 = never; least improvement that counts).
    schedule: (plateau patience in epochs, 0 = none; factor on the learning rate).
  Returns:
    The new control, and whether this epoch is the best so far by validation accuracy (ties: the earlier one).
  """
  patience, delta = stop
  plateau_patience, factor = schedule
  better = value < control.best - delta
  wait = jnp.where(better, 0, control.wait + 1)
  plateau = jnp.where(better, 0, control.plateau + 1)
  cut = (plateau_patience > 0) & (plateau >= plateau_patience)
  best_yet = (accuracy > control.best_accuracy) | (accuracy < 0)
  return control.replace(
    best=jnp.where(better, value, control.best),
    wait=wait,
    plateau=jnp.where(cut, 0, plateau),
    lr_scale=jnp.where(cut, control.lr_scale * factor, control.lr_scale),
    stopped=control.stopped | ((patience > 0) & (wait >= patience)),
    best_accuracy=jnp.where(best_yet, accuracy, control.best_accuracy),
    best_epoch=jnp.where(best_yet, epoch, control.best_epoch),
  ), best_yet
