"""A phase of a run: its settings, the state in which it begins, and the refresh of its targets."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.data.images import Images
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, dynamics, score, step
from noisyjax.engine.net import Net, path_matches
from noisyjax.engine.spec import run_keys
from noisyjax.engine.state import PyTree, Snapshot, Targets, TrainState, new_control
from noisyjax.engine.strategy import Strategy
from noisyjax.system.errors import UserError, listed

# Named resets: regular expressions on parameter paths. The last layer of every model is called "head".
RESETS = {'all': '', 'head': r'(^|/)head(/|$)'}


@dataclasses.dataclass(frozen=True)
class Phase:
  """One phase of a run.

  Attributes:
    name: name of the strategy, for the log and for messages.
    strategy: strategy of the phase.
    spec: static values of the step.
    hyper: traced values of the step.
    epochs: maximum number of epochs.
    rows: bool [N], the rows that the phase may use.
    labels: "given", "verified" or "both" resets the targets to these labels, see `TrainData.labels`; "" keeps the
      targets of the previous phase.
    reset: parameters that are initialised again when the phase begins: "none", "all", "head" or a regular expression on
      parameter paths.
    watch: metric that early stopping and the plateau schedule watch: "val_loss" or "val_accuracy".
    steps: steps per epoch; 0 = one pass over the first stream; -n = the same, but at least n.
    per_call: steps per compiled call; 0 = about 16.
    chunk: rows per forward pass when rows are scored.
    balance: whether the batches of labeled streams take rows from one class after another.
  """

  name: str
  strategy: Strategy
  spec: step.Spec
  hyper: step.Hyper
  epochs: int
  rows: np.ndarray
  labels: str = ''
  reset: str = 'none'
  watch: str = 'val_loss'
  steps: int = 0
  per_call: int = 1
  chunk: int = 512
  balance: bool = False


def first_targets(phase: Phase, data: TrainData) -> Targets:
  """Returns targets made from the labels that the phase names, with the weights of the data and trust 1.

  In `TrainData` only LABELED rows have a label, and DROPPED and HELD rows have weight 0.
  """
  label = jnp.array(data.labels(phase.labels or 'given'), jnp.int32)
  return Targets(
    label=label,
    soft=jax.nn.one_hot(label, data.classes) if phase.strategy.soft else None,
    weight=jnp.array(data.weight, jnp.float32),
    trust=jnp.ones((phase.strategy.networks, len(label)), jnp.float32),
  )


def _carried_targets(phase: Phase, data: TrainData, previous_state: TrainState) -> Targets:
  """Returns the targets of the previous phase, or new targets if the phase names its labels."""
  fresh = first_targets(phase, data)
  if phase.labels:
    return fresh
  old = previous_state.targets
  soft = old.soft
  if phase.strategy.soft and soft is None:
    soft = jax.nn.one_hot(old.label, data.classes)
  return old.replace(soft=soft, trust=old.trust if old.trust.shape == fresh.trust.shape else fresh.trust)


def _check_pattern(field: str, pattern: str, params: PyTree) -> None:
  """Raises UserError unless the pattern is a regular expression that matches the path of a parameter."""
  try:
    found = jax.tree.leaves(path_matches(pattern, params))
  except re.error as error:
    raise UserError(f'{field}: {pattern!r} is not a regular expression: {error}.') from None
  if not any(found):
    paths = (jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in jax.tree.leaves_with_path(params))
    raise UserError(
      f'{field}: {pattern!r} matches no parameter. Expected a regular expression that matches one of: {listed(paths)}.'
    )


def _carried_networks(phase: Phase, fresh: Snapshot, previous_state: TrainState) -> tuple[Snapshot, Snapshot]:
  """Returns the networks before the reset, which score the rows for `refresh`, and after it."""
  old = Snapshot(previous_state.params['net'], previous_state.stats)
  if phase.reset == 'none':
    chosen = jax.tree.map(lambda _: False, fresh)
  else:
    pattern = RESETS.get(phase.reset, phase.reset)
    _check_pattern('reset', pattern, fresh.params)
    chosen = Snapshot(path_matches(pattern, fresh.params), path_matches(pattern, fresh.stats))
  shape = lambda tree: jax.tree.map(lambda a: a.shape, tree)
  if phase.reset != 'all' and shape(old) != shape(fresh):
    changed = jax.tree.structure(old) != jax.tree.structure(fresh) or any(
      o.shape != f.shape and not c
      for o, f, c in zip(jax.tree.leaves(old), jax.tree.leaves(fresh), jax.tree.leaves(chosen))
    )
    if changed:
      raise UserError(
        f'phases: the networks of phase {phase.name!r} differ in shape or number from those of the previous phase, '
        f"but reset={phase.reset!r} keeps them. Expected the same networks, or reset='all'."
      )
  if phase.reset == 'all':
    return old, fresh
  return old, jax.tree.map(lambda o, f, c: f if c else o, old, fresh, chosen)


def enter(
  phase: Phase,
  number: int,
  data: TrainData,
  images: Images | Array | None,
  root: Array,
  previous_state: TrainState | None = None,
  previous_phase: Phase | None = None,
  template: bool = False,
) -> TrainState:
  """Returns the state in which a phase begins.

  The networks, the optimizer state (if no parameter is reset and the same parameters are frozen) and the targets come
  from `previous_state`. The moving average, the strategy's own parameters, `extra` and early stopping are initialised.
  So are the dynamics and the choice of the best epoch, unless the phase `continues` the previous one.

  The strategy's `refresh` runs before the reset. Its scores are those of the networks at the end of the previous phase,
  or, if the strategy sets `asks_best`, of that phase's best networks by validation accuracy.

  Args:
    phase: the phase to begin.
    number: its index, which is folded into the key.
    data: the training rows, without true labels.
    images: `data.images`, on the device; None if `template`.
    root: key of the run.
    previous_state: final state of the previous phase; None in the first phase.
    previous_phase: the previous phase; None in the first phase.
    template: whether only the structure of the state is needed, to restore a checkpoint into it; no row is scored then.

  Raises:
    UserError: a pattern of `reset` or `freeze` matches no parameter, or the networks of the phase have other shapes
      than the previous ones, which it keeps.
  """
  key = jax.random.fold_in(jax.random.fold_in(root, 0), number)
  net_key, own_key = jax.random.split(key)
  strategy, spec = phase.strategy, phase.spec
  usable = np.flatnonzero(phase.rows & data.used)
  every = -(-len(usable) // spec.net.shown(data.images.shape[1:]))  # rows spread over the whole data set
  fresh = Snapshot(*spec.net.init(net_key, data.images.take(usable[::every])))
  if phase.hyper.optimizer.freeze:
    _check_pattern('freeze', phase.hyper.optimizer.freeze, fresh.params)
  features = spec.net.width(fresh.params, fresh.stats, data.images.take(np.arange(1)))
  own, extra = strategy.init(own_key, dataclasses.replace(data, features=features))
  zero = lambda: jnp.array(0, jnp.int32)
  record = dynamics.new(strategy.networks, len(data.given))
  if previous_state is None:
    before, after, targets = fresh, fresh, first_targets(phase, data)
    counters = {'step': zero(), 'epoch': zero(), 'phase_epoch': zero(), 'tick': zero()}
  else:
    before, after = _carried_networks(phase, fresh, previous_state)
    before = previous_state.best if strategy.asks_best else before
    targets = _carried_targets(phase, data, previous_state)
    counters = {'step': previous_state.step, 'epoch': previous_state.epoch, 'phase_epoch': zero(), 'tick': zero()}
  same = previous_state is not None and phase.reset == 'none' and before is not fresh
  fresh_opt = phase.hyper.optimizer.init(after.params)
  own_opt = strategy.own_optimizer().init(own) if jax.tree.leaves(own) else {}
  # Adam keeps one step count for all parameters. Parameters that were frozen have moments of zero gradients, for which
  # that count would be wrong.
  thawed = previous_phase is not None and previous_phase.hyper.optimizer.freeze != phase.hyper.optimizer.freeze
  carry_opt = (
    same and not thawed and jax.tree.map(jnp.shape, previous_state.opt['net']) == jax.tree.map(jnp.shape, fresh_opt)
  )
  state = TrainState(
    **counters,
    params={'net': before.params, 'own': own},
    stats=before.stats,
    opt={'net': previous_state.opt['net'] if carry_opt else fresh_opt, 'own': own_opt},
    targets=targets,
    extra=extra,
    masks={},
    ema=after if spec.ema else None,
    best=after,
    dynamics=record
    if previous_state is None or previous_state.dynamics.visits.shape != record.visits.shape
    else previous_state.dynamics,
    control=new_control(),
    bad_step=jnp.array(-1, jnp.int32),
  )
  if strategy.refreshes and not template:
    state = refreshed(phase, state, images, root, previous_phase.spec.net if previous_phase else None, previous_state)
  state = state.replace(params={'net': after.params, 'own': own}, stats=after.stats)
  if previous_phase is not None and previous_state is not None and continues(phase, previous_phase):
    chosen = {name: getattr(previous_state.control, name) for name in ('best_accuracy', 'best_epoch')}
    state = state.replace(best=previous_state.best, control=state.control.replace(**chosen))
  else:
    state = state.replace(dynamics=record)
  state = between_epochs.begin_epoch(strategy, state, phase.rows, phase.balance)
  return _settled(state)


def continues(phase: Phase, previous_phase: Phase) -> bool:
  """Returns whether a phase continues to train the networks of the previous one, with the same method, rows and labels.

  The phases then differ only in settings such as the schedule, and the best epoch is chosen among the epochs of both.
  """
  same = phase.name == previous_phase.name and phase.strategy.networks == previous_phase.strategy.networks
  return same and phase.reset == 'none' and not phase.labels and np.array_equal(phase.rows, previous_phase.rows)


def chosen_from(phases: list[Phase]) -> int:
  """Returns the index of the first phase whose epochs may be the best one.

  It is the last phase or, if that `continues` earlier phases, the first of these.
  """
  number = len(phases) - 1
  while number and continues(phases[number], phases[number - 1]):
    number -= 1
  return number


def _settled(tree: PyTree) -> PyTree:
  """Returns a copy with strongly typed, distinct buffers.

  A donated state may not hold one buffer twice, and restored checkpoints are strongly typed.
  """
  return jax.tree.map(lambda a: jnp.array(a, a.dtype, copy=True), tree)


def refreshed(
  phase: Phase,
  state: TrainState,
  images: Images | Array | None,
  root: Array,
  net: Net | None = None,
  previous_state: TrainState | None = None,
  averaged: bool = False,
) -> TrainState:
  """Returns the state with the targets and `extra` that the strategy's `refresh` returns.

  Args:
    phase: the current phase.
    state: current state.
    images: images of the training rows.
    root: key of the run.
    net: architecture of the networks that score the rows; None for the phase's own.
    previous_state: final state of the previous phase, on entering a phase; otherwise None.
    averaged: whether the averaged networks score the rows, if the run keeps an average.
  """
  scores = {}
  if phase.strategy.scores:
    scores = score.score_rows(net or phase.spec.net, phase.strategy, state, images, phase.chunk, averaged)
  key = run_keys(root).refresh
  epochs, classes = phase.hyper.epochs, phase.spec.classes
  found = between_epochs.refresh(phase.strategy, state, scores, phase.rows, key, epochs, classes, previous_state)
  targets, extra = _settled(found)
  return state.replace(targets=targets, extra=extra)


def epoch_steps(phase: Phase, state: TrainState) -> int:
  """Returns the steps per epoch: `phase.steps`, or as many as one pass over the first stream takes, at least 1.

  The number is fixed for the phase, although the members of the stream may change between epochs.

  Args:
    phase: the phase.
    state: state in which the phase begins.

  Raises:
    UserError: no row of the phase has a label and a weight above 0 (in an unlabeled stream: a weight above 0).
  """
  name, views = next(iter(phase.strategy.streams.items()))
  mask = np.asarray(state.masks[name])
  count = int((mask if mask.dtype == bool else mask >= 0).sum(-1).max())
  usable = phase.rows & (np.asarray(state.targets.weight) > 0)
  if views.labeled:
    usable &= np.asarray(state.targets.labeled)
  size = phase.spec.batch_size * views.ratio
  if not usable.any():
    raise UserError(
      f'phase {phase.name!r}: none of the {mask.shape[-1]} training rows has a label to train on; expected at least '
      'one among the rows that the phase may use (see rows and labels).'
    )
  return phase.steps if phase.steps > 0 else max(1, -(-count // size), -phase.steps)
