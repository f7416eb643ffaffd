"""What happens between epochs: the rows of each stream, their order, a strategy's refresh, and early stopping."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.engine import walk
from noisyjax.engine.spec import Hyper
from noisyjax.engine.state import PyTree, Targets, TrainState, observe
from noisyjax.engine.strategy import Ctx, Scores, Strategy


def begin_epoch(strategy: Strategy, state: TrainState, rows: Array | np.ndarray, balance: bool = False) -> TrainState:
  """Sets `state.masks`, the members of each stream in the epoch that begins.

  Members are the rows that `strategy.members` returns, without rows that the phase may not use, rows of weight 0 and,
  in labeled streams, rows without a label.

  Args:
    strategy: strategy of the phase.
    state: state after `refresh`.
    rows: bool [N], the rows that the phase may use.
    balance: whether the batches of a labeled stream take rows from one class after another, so that all classes are
      seen equally often. Groups that the strategy itself returns are kept.
  """
  # The masks of the last epoch are removed: the first epoch of a phase has none, and would need a second program.
  return _begin_epoch(strategy, state.replace(masks={}), rows, balance)


@functools.partial(jax.jit, static_argnames='balance')
def _begin_epoch(strategy: Strategy, state: TrainState, rows: Array, balance: bool) -> TrainState:
  t = state.targets
  out = {}
  for name, members in strategy.members(state).items():
    allowed = rows & (t.weight > 0) & (t.labeled if strategy.streams[name].labeled else True)
    if balance and strategy.streams[name].labeled and members.dtype == bool:
      classes = t.label if t.soft is None else jnp.where(t.label >= 0, t.label, t.soft.argmax(-1))
      members = jnp.where(members, classes, -1)
    out[name] = members & allowed if members.dtype == bool else jnp.where(allowed, members, -1)
  # An epoch may be too short to visit all rows. Until it visits a row, the row counts as chosen if the first stream has
  # it.
  first = out[next(iter(strategy.streams))]
  chosen = jnp.broadcast_to(first if first.dtype == bool else first >= 0, state.dynamics.chosen.shape)
  return state.replace(masks=out, dynamics=state.dynamics.replace(chosen=chosen))


@functools.partial(jax.jit, static_argnames='classes')
def walks(members: dict[str, Array], key: Array, epoch: Array, classes: int) -> dict[str, walk.Walk]:
  """Returns the walk of each stream for this epoch; all walks use the same permutation of the rows."""
  key = jax.random.fold_in(key, epoch)
  return {name: walk.walk(m, key, classes) for name, m in members.items()}


def refresh(
  strategy: Strategy,
  state: TrainState,
  scores: Scores,
  rows: Array | np.ndarray,
  key: Array,
  epochs: Array,
  classes: int,
  previous_state: TrainState | None = None,
) -> tuple[Targets, PyTree]:
  """Calls the strategy's `refresh`.

  Args:
    strategy: strategy of the phase.
    state: current state.
    scores: scores of all rows.
    rows: bool [N], the rows that the phase may use.
    key: refresh key of the run; the epoch is folded into it.
    epochs: length of the phase.
    classes: number of classes.
    previous_state: final state of the previous phase, on entering a phase; otherwise None.

  Returns:
    The new targets and the new `extra`.
  """
  return _refresh(strategy, state.replace(masks={}), scores, rows, key, epochs, classes, previous_state)


@functools.partial(jax.jit, static_argnames='classes')
def _refresh(
  strategy: Strategy,
  state: TrainState,
  scores: Scores,
  rows: Array,
  key: Array,
  epochs: Array,
  classes: int,
  previous_state: TrainState | None,
) -> tuple[Targets, PyTree]:
  key = jax.random.fold_in(key, state.epoch)
  ctx = Ctx(
    key, state.phase_epoch, epochs, state.phase_epoch / epochs, classes, rows=rows, previous_state=previous_state
  )
  return strategy.refresh(state, scores, ctx)


@functools.partial(jax.jit, donate_argnames='state')
def end_epoch(state: TrainState, watched: Array, accuracy: Array, hyper: Hyper) -> TrainState:
  """Updates counters, early stopping, plateau schedule and the snapshot of the best epoch.

  Args:
    state: state after the last step of the epoch; donated.
    watched: value that early stopping and the plateau schedule watch; smaller is better.
    accuracy: validation accuracy; negative without validation rows.
    hyper: traced values of the phase.
  """
  epoch = state.epoch + 1
  control, better = observe(state.control, watched, accuracy, epoch, hyper.stop, hyper.plateau)
  best = jax.tree.map(lambda old, new: jnp.where(better, new, old), state.best, state.current)
  return state.replace(
    control=control, best=best, epoch=epoch, phase_epoch=state.phase_epoch + 1, tick=jnp.zeros_like(state.tick)
  )
