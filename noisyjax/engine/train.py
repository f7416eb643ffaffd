"""Training: `fit` runs phases, epochs and steps, and calls hooks. It computes no gradient and compiles nothing.

`steps` does so one call of the compiled step at a time, for `together`.
"""

import dataclasses
import functools
import itertools
from typing import Any, Protocol

import jax
import numpy as np
from jax import Array

from noisyjax.data.images import Images
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, first_loss, gather, placement, score, step, together
from noisyjax.engine.phase import Phase, enter, epoch_steps, refreshed
from noisyjax.engine.spec import run_keys
from noisyjax.engine.state import TrainState
from noisyjax.estimate import scoring


@dataclasses.dataclass
class Position:
  """Progress of a run that is not in its TrainState; a checkpoint stores it as JSON.

  Attributes:
    phase: index of the phase.
    steps: steps per epoch in this phase.
    passes: images through a network so far: 1 for a forward pass, 3 for forward and backward.
    images: images in the batches so far.
    totals: name → [sum, count] of the metrics of this epoch so far.
  """

  phase: int = 0
  steps: int = 0
  passes: float = 0.0
  images: int = 0
  totals: dict[str, Array | np.ndarray] = dataclasses.field(default_factory=dict)


class Hooks(Protocol):
  """Callbacks of `fit`. The engine itself writes no files."""

  def begin(self, phase: Phase, position: Position, state: TrainState) -> None:
    """Is called when a phase begins or resumes."""
    ...

  def step(self, phase: Phase, position: Position, state: TrainState, count: int, tick: int) -> None:
    """Is called after each compiled call of `count` steps; `tick` steps of the epoch are done."""
    ...

  def epoch(self, phase: Phase, position: Position, state: TrainState, record: dict[str, Any]) -> None:
    """Is called after each epoch, with its metrics."""
    ...


def even_call(steps: int, about: int = 16) -> int:
  """Returns the number of steps per compiled call: the divisor of `steps` nearest to `about`, within a factor of two.

  With a divisor, an epoch needs no second compiled program for its remainder. Returns `about` if there is none.
  """
  even = [n for n in range(about // 2, 2 * about + 1) if steps % n == 0]
  return min(even, key=lambda n: abs(n - about), default=about)


def fit(
  phases: list[Phase],
  data: TrainData,
  validation: tuple[Images, np.ndarray] | None,
  root: Array,
  hooks: Hooks,
  resume: tuple[TrainState, Position] | None = None,
) -> tuple[TrainState, Position]:
  """Runs the phases.

  Args:
    phases: the phases of the run, in order.
    data: the training rows.
    validation: images, uint8, and labels, int32, of the validation rows; or None.
    root: key of the run.
    hooks: callbacks.
    resume: state and position to continue from, as `hooks.step` or `hooks.epoch` received them; None to begin.

  Returns:
    The final state and position.

  Raises:
    UserError: as `enter` and `epoch_steps` raise it.
    Diverged: new networks or their first loss are not finite.
  """
  return together.alone(steps(phases, data, validation, root, hooks, resume))


def steps(
  phases: list[Phase],
  data: TrainData,
  validation: tuple[Images, np.ndarray] | None,
  root: Array,
  hooks: Hooks,
  resume: tuple[TrainState, Position] | None = None,
) -> together.Steps[tuple[TrainState, Position]]:
  """Runs the phases as `fit` does, but yields each call of the compiled step and receives its outcome."""
  mesh = next((phase.spec.mesh for phase in phases if phase.spec.mesh is not None), None)
  everywhere = functools.partial(placement.everywhere, mesh)
  images = placement.shared(mesh, data.images) if data.images.resident else data.images
  keys = everywhere(run_keys(root))
  begun: tuple[Any, Position] = resume or (None, Position())
  state, position = begun
  for number in range(position.phase, len(phases)):
    phase = phases[number]
    strategy = phase.strategy
    if resume is None or number > position.phase:
      previous_phase = phases[number - 1] if number else None
      state = enter(phase, number, data, images, root, state, previous_phase)
      position = dataclasses.replace(position, phase=number, steps=epoch_steps(phase, state), totals={})
      if strategy.scores:
        position.passes += (previous_phase or phase).spec.net.networks * len(data.given)
    resume = None
    state = everywhere(state)  # the sharding that a step returns; any other would compile the step again
    hyper = phase.hyper.replace(steps=np.float32(position.steps))
    hooks.begin(phase, position, state)
    new = int(state.phase_epoch) == int(state.tick) == 0 and (number == 0 or phase.reset == 'all')
    if new:
      first_loss.check_networks(phase, state.best)  # until an epoch ends, `best` holds the initial networks
    while int(state.phase_epoch) < phase.epochs and not bool(state.control.stopped):
      tick = int(state.tick)
      if tick == 0 and int(state.phase_epoch) > 0:
        if strategy.refreshes and strategy.refresh_on == 'epoch':
          state = refreshed(phase, state, images, root, averaged=strategy.averaged)
          position.passes += strategy.networks * len(data.given) * strategy.scores
        state = between_epochs.begin_epoch(strategy, state, phase.rows, phase.balance)
      walks = between_epochs.walks(state.masks, keys.walk, state.epoch, phase.spec.classes)
      each = phase.per_call or even_call(position.steps)
      calls = [(t, min(each, position.steps - t)) for t in range(tick, position.steps, each)]
      batches = itertools.repeat(images)
      if not data.images.resident:
        batches = gather.ahead(strategy, phase.spec.batch_size, walks, data.images, calls, phase.spec.mesh)
        walks = None
      ahead = None
      for batch, (tick, count) in zip(batches, calls):
        state, sums = yield together.Call(phase.spec, strategy, hyper, state, walks, batch, keys, count)
        if new:
          first = batch if data.images.resident or count == 1 else jax.tree.map(lambda a: a[0], batch)
          first_loss.check_step(phase, state.best, state, count, walks, first, keys)
          new = False
        # Dispatch at most one call ahead: the device is never idle, and hooks measure time and see signals promptly.
        jax.block_until_ready(ahead)
        ahead = sums
        position.totals = step.add(position.totals, sums) if position.totals else sums
        position.images += count * phase.spec.batch_size * sum(v.ratio for v in strategy.streams.values())
        hooks.step(phase, position, state, count, tick + count)
      totals = {k: np.asarray(v, np.float64) for k, v in position.totals.items()}
      position.passes += float(totals.pop('passes')[0])
      means = {k: float(s / max(n, 1)) for k, (s, n) in totals.items()}
      state, scores = _close_epoch(phase, state, hyper, validation, means)
      position.totals = {}
      record = {
        'epoch': int(state.epoch),
        'phase': number,
        'strategy': phase.name,
        'phase_epoch': int(state.phase_epoch),
        'step': int(state.step),
        **means,
        **scores,
      }
      hooks.epoch(phase, position, state, record)
  return state, position


def _close_epoch(
  phase: Phase,
  state: TrainState,
  hyper: step.Hyper,
  validation: tuple[Images, np.ndarray] | None,
  means: dict[str, float],
) -> tuple[TrainState, dict[str, float]]:
  """Scores the validation rows and updates early stopping, plateau schedule and best epoch.

  Returns:
    The new state, and the validation scores; {} without validation rows.
  """
  scores = {}
  # Without validation rows, the training loss is watched, and the last epoch counts as the best one.
  watched, accuracy = means.get('objective', 0.0), -1.0
  if validation is not None:
    probs, _ = score.predict(phase.spec.net, phase.strategy, state.current, validation[0], phase.chunk)
    found = scoring.scores(probs, validation[1])
    scores = {'val_loss': found['loss'], 'val_accuracy': found['accuracy']}
    accuracy = found['accuracy']
    watched = found['loss'] if phase.watch == 'val_loss' else -found['accuracy']
  return between_epochs.end_epoch(state, np.float32(watched), np.float32(accuracy), hyper), scores
