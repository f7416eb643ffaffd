"""The state of a training run: all arrays that a resumed run needs, without random keys."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax import Array

from noisyjax.engine.dynamics import Dynamics

PyTree = Any


class Targets(struct.PyTreeNode):
  """Labels and weights of the training rows. Only a strategy's `refresh` writes them, between epochs.

  Attributes:
    label: int32 [N]; -1 = unlabeled.
    soft: float32 [N, C], soft labels; None if labels are hard.
    weight: float32 [N], weight in the losses; rows of weight 0 are not used at all.
    trust: float32 [M, N] in 0-1, what the strategy's `refresh` decided for each row and network: the probability that
      the label is correct (DivideMix) or whether the row is kept (AUM), for example. 1 until then.
  """

  label: Array
  soft: Array | None
  weight: Array
  trust: Array

  @property
  def labeled(self) -> Array:
    """Whether each row has a label, hard or soft, bool [N]."""
    return self.label >= 0 if self.soft is None else (self.label >= 0) | (self.soft.sum(-1) > 0)

  def counted(self, rows: Array) -> Array:
    """Returns which of `rows` (bool [N]) have a label and a weight above 0, bool [N]."""
    return rows & (self.weight > 0) & self.labeled


class Control(struct.PyTreeNode):
  """State of early stopping, the plateau schedule and the choice of the best epoch.

  Attributes:
    best: float32, best value of the watched metric in this phase; smaller is better.
    wait: int32, epochs since the last improvement.
    plateau: int32, epochs since the last improvement or the last cut of the learning rate.
    lr_scale: float32, factor on the learning rate.
    stopped: bool, whether early stopping has ended the phase.
    best_accuracy: float32, best validation accuracy in this phase and the phases that it continues.
    best_epoch: int32, epoch of the run with that accuracy.
  """

  best: Array
  wait: Array
  plateau: Array
  lr_scale: Array
  stopped: Array
  best_accuracy: Array
  best_epoch: Array


class Snapshot(struct.PyTreeNode):
  """Networks for evaluation.

  Attributes:
    params: parameters, each with a leading axis M.
    stats: running statistics, each with a leading axis M.
  """

  params: PyTree
  stats: PyTree


class TrainState(struct.PyTreeNode):
  """All arrays that a resumed run needs.

  Attributes:
    step: int32, optimizer steps since the run began.
    epoch: int32, completed epochs of the run.
    phase_epoch: int32, completed epochs of the phase.
    tick: int32, completed steps of the current epoch.
    params: {"net": parameters of the networks, with a leading axis M; "own": the strategy's own parameters}.
    stats: running statistics, with a leading axis M.
    opt: {"net": …, "own": …}, optimizer states.
    targets: labels and weights that the run trains on.
    extra: the strategy's own arrays.
    masks: stream → its members in this epoch. They are set after `refresh` and `members`, which do not see them.
    ema: averaged networks, or None.
    best: networks of epoch `control.best_epoch`; until an epoch ends, the initial networks.
    dynamics: running sums over the visits to each row.
    control: state of early stopping, the plateau schedule and the choice of the best epoch.
    bad_step: int32, first step with a non-finite loss; -1 if there is none.
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
    """The networks to evaluate: the averaged ones if the run keeps an average, otherwise the trained ones."""
    return self.ema if self.ema is not None else Snapshot(self.params['net'], self.stats)


def new_control() -> Control:
  """Returns the initial control of a phase."""
  # Distinct, strongly typed buffers: a donated state may not hold one array twice.
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
  """Updates the control after an epoch.

  Args:
    control: control before the epoch.
    value: watched metric; smaller is better.
    accuracy: validation accuracy; negative without validation rows, in which case every new epoch is the best one.
    epoch: completed epochs of the run.
    stop: (patience in epochs, minimum improvement) of early stopping; patience 0 turns it off.
    schedule: (patience in epochs, factor on the learning rate) of the plateau schedule; patience 0 turns it off.

  Returns:
    The new control, and whether this epoch has the best validation accuracy so far (bool; of equal epochs, the first).
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
