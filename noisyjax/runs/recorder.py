"""Records a run while it trains: metrics, checkpoints, progress, and checks for signals and divergence."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np
from tqdm import tqdm

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import resolved
from noisyjax.data.prepare import Prepared
from noisyjax.data.training import TrainData
from noisyjax.engine import score, train
from noisyjax.engine.phase import Phase, enter
from noisyjax.engine.state import TrainState
from noisyjax.runs import checkpoint
from noisyjax.runs.audit import Auditor
from noisyjax.system import formats, interrupt, processes, progress, storage
from noisyjax.system.cadence import Cadence
from noisyjax.system.errors import Diverged, UserError
from noisyjax.system.log import log

_CHECK_EVERY = 50  # steps between checks of the loss, because a check may wait for the device
_FEW_STEPS = 10  # an epoch with fewer steps is reported


class Recorder:
  """Hooks that record a run in its folder, see `train.Hooks`.

  Args:
    plan: plan of the run.
    folder: folder of the run.
    prepared: data of the run.
    auditor: scores each epoch.
    phases: the phases as the engine runs them.
    named: whether its progress names the folder, because other runs train beside it.
  """

  def __init__(
    self, plan: Plan, folder: Path, prepared: Prepared, auditor: Auditor, phases: list[Phase], named: bool = False
  ) -> None:
    config = plan.config
    self._name = f'{folder.name}: ' if named else ''
    self._config, self._folder, self._prepared, self._auditor, self._phases = config, folder, prepared, auditor, phases
    self._digest = formats.digest(json.loads(json.dumps(resolved(plan))))
    self._metrics = storage.JsonLines(folder / 'metrics.jsonl')
    self._board = storage.TensorBoard(folder / 'tensorboard') if config.tensorboard else None
    self._checkpoints = checkpoint.Checkpoints(folder / 'checkpoints', config.checkpoint.keep)
    self._before = 0.0  # seconds of training before the last resume
    self._start = self._epoch_start = time.monotonic()
    self._epoch_images = self._step = self._seen = 0
    self._bar = tqdm(disable=True)  # replaced when a phase begins
    self._votes = processes.Votes()
    self._lines, self._clock = progress.Lines(), progress.Clock()
    self._totals: dict[str, jax.Array | np.ndarray] = {}  # before the last compiled call; the device has finished them

  def __enter__(self) -> Self:
    self._start = self._epoch_start = time.monotonic()
    return self

  def __exit__(self, *unused: object) -> None:
    self._bar.close()
    self._checkpoints.close()

  def seconds(self) -> float:
    """Returns the seconds of training so far, including those before a resume."""
    return self._before + time.monotonic() - self._start

  def resume(self, data: TrainData, root: jax.Array) -> tuple[TrainState, train.Position] | None:
    """Restores the newest readable checkpoint, and cuts the logs to the epochs before it.

    Args:
      data: training rows.
      root: random key of the run.

    Returns:
      The state and the position of the checkpoint; None if there is no checkpoint.

    Raises:
      UserError: the checkpoint has another config or other data, or a log is shorter than the checkpoint expects.
    """

    def template(record: dict[str, Any]) -> TrainState:
      for name, here in (('data', self._prepared.record['fingerprint']), ('config', self._digest)):
        if record.get(name, here) != here:  # checkpoints before format 1 have no config
          raise UserError(
            f'{self._folder}: the {name} here are not those of its checkpoint, though config.json is the same. Bring '
            'them back, or choose another workdir.'
          )
      number = record['position']['phase']
      state = enter(self._phases[number], number, data, None, root, None, template=True)
      if record['soft'] and state.targets.soft is None:  # soft targets of an earlier phase
        soft = np.zeros((len(data.given), data.classes), np.float32)
        state = state.replace(targets=state.targets.replace(soft=soft))
      return state

    found = self._checkpoints.latest(template)
    epochs = 0
    if found is not None:
      state, record = found
      epochs = int(state.epoch)
      self._before = record['seconds']
    for name in ('metrics.jsonl', 'audit.jsonl'):
      kept = len(storage.truncate(self._folder / name, epochs))
      if kept < epochs:
        raise UserError(
          f'{self._folder / name}: has {kept} epochs, expected the {epochs} before the checkpoint at step '
          f'{int(state.step)}. Bring the file back, or choose another workdir.'
        )
    if found is None:
      return None
    log.info('%s: goes on from step %d.', self._folder, int(state.step))
    position = train.Position(**record['position'])
    position.totals = {k: np.asarray(v, np.float32) for k, v in position.totals.items()}
    return state, position

  def begin(self, phase: Phase, position: train.Position, state: TrainState) -> None:
    """Starts the progress bar of a phase, or continues it after a resume."""
    self._step = int(state.step)
    self._epoch_images = position.images
    total = position.steps * phase.epochs
    if position.steps < _FEW_STEPS and not int(state.phase_epoch) and not int(state.tick):
      log.info(
        'phase %r: an epoch is only %d step(s) (batch_size %d), %d in all; steps_per_epoch=-50 walks the rows more '
        'often, and a smaller batch_size makes more steps of them.',
        phase.name,
        position.steps,
        phase.spec.batch_size,
        total,
      )
    self._cadence = Cadence(self._config.checkpoint.every, position.steps, total)
    self._began = self._step - int(state.phase_epoch) * position.steps - int(state.tick)
    self._bar.close()
    self._clock = progress.Clock()
    done = int(state.phase_epoch) * position.steps + int(state.tick)
    self._bar = tqdm(
      total=total,
      initial=done,
      desc=f'{self._name}{phase.name}',
      unit='step',
      mininterval=1.0,
      disable=None if storage.writes() else True,
      dynamic_ncols=True,
    )

  def step(self, phase: Phase, position: train.Position, state: TrainState, count: int, tick: int) -> None:
    """Records steps.

    Args:
      phase: current phase.
      position: current position.
      state: state after the steps.
      count: number of steps since the last call.
      tick: number of steps since the start of the epoch.
    """
    self._step += count
    self._bar.update(count)
    done, self._totals = self._totals, position.totals
    if self._step % _CHECK_EVERY < count:
      if done and not np.isfinite(np.asarray(done['objective'])[0]):
        self._check(state)  # waits for the device
      rate = (position.images - self._epoch_images) / max(time.monotonic() - self._epoch_start, 1e-9)
      self._bar.set_postfix_str(f'{rate:.0f} images/s', refresh=False)
    if tick == position.steps:
      return  # `epoch` writes the lines of the logs before it saves a checkpoint
    due, signal = self._votes.later(*self._wishes())
    if due or signal:
      self._save(position, state, signal)

  def _wishes(self) -> tuple[int, int]:
    """Returns whether this process asks for a checkpoint, and the signal that asks it to stop; 0 = none."""
    return self._cadence.due(self._step - self._began, self.seconds()), interrupt.asked() or 0

  def epoch(self, phase: Phase, position: train.Position, state: TrainState, record: dict[str, Any]) -> None:
    """Records an epoch. Its log lines are written before the checkpoint, because a resume relies on them.

    Args:
      phase: current phase.
      position: current position.
      state: state after the epoch.
      record: metrics of the epoch; its duration and speed are added.
    """
    self._check(state)
    seconds = time.monotonic() - self._epoch_start
    record |= {'seconds': seconds, 'images_per_second': (position.images - self._epoch_images) / seconds}
    self._metrics.append(record)
    if self._board is not None:
      self._board.append(record)
    predict = lambda images: score.predict(phase.spec.net, phase.strategy, state.current, images, phase.chunk)
    rows = {'predicted': state.dynamics.predicted[0], 'chosen': state.dynamics.chosen[0], 'label': state.targets.label}
    self._auditor.epoch(record['epoch'], predict, phase.strategy.networks, jax.tree.map(np.asarray, rows))
    last = int(state.phase_epoch) == phase.epochs or bool(state.control.stopped)
    self._say(record, 0 if last else phase.epochs - int(state.phase_epoch))
    due, signal = self._votes.now(*self._wishes())
    if due or last or signal:
      self._save(position, state, signal)
    self._epoch_start, self._epoch_images = time.monotonic(), position.images

  def _say(self, record: dict, left: int) -> None:
    """Logs a line on an epoch.

    Args:
      record: metrics of the epoch.
      left: number of remaining epochs of its phase.
    """
    self._clock.tick()
    this, *later = self._phases[record['phase'] :]
    units = left + sum(phase.epochs * _rows(phase) for phase in later) / _rows(this)  # epochs of this phase
    left += sum(phase.epochs for phase in later)
    loss, accuracy = record.get('loss', record.get('objective')), record.get('val_accuracy')
    self._lines.say(
      f'{self._name}epoch {record["epoch"]}/{record["epoch"] + left}'
      + (f' ({record["strategy"]})' if len(self._phases) > 1 else ''),
      '' if loss is None else f'loss {loss:.3f}',
      '' if accuracy is None else f'val {100 * accuracy:.1f} % ({self._config.data.val_labels})',
      f'{record["images_per_second"]:.0f} images/s',
      self._clock.left(units),
    )

  def _check(self, state: TrainState) -> None:
    """Raises Diverged if a loss was not finite. Each save calls it first, so that no checkpoint holds such a state."""
    bad = int(state.bad_step)
    if bad >= 0:
      raise self._diverged('loss is', bad + 1)
    self._seen = self._step

  def _diverged(self, what: str, step: int) -> Diverged:
    """Returns the error for a non-finite value.

    Args:
      what: name of the value and its verb.
      step: step after which the value was not finite.
    """
    return Diverged(
      f'{self._folder}: the {what} not finite at step {step} (looked at after steps {self._seen} and {self._step}). '
      f'The last good checkpoint is kept. {Diverged.HINT}'
    )

  def _save(self, position: train.Position, state: TrainState, signal: int) -> None:
    """Saves a checkpoint, then ends the run if a signal asked for it; raises Diverged instead of saving bad values."""
    self._check(state)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)):
      raise self._diverged('parameters are', self._step)
    plain = dataclasses.asdict(position)
    plain['totals'] = {k: np.asarray(v).tolist() for k, v in position.totals.items()}
    self._checkpoints.save(
      self._step,
      state,
      {
        'position': plain,
        'soft': state.targets.soft is not None,
        'seconds': self.seconds(),
        'data': self._prepared.record['fingerprint'],
        'config': self._digest,
      },
    )
    if signal:
      raise interrupt.stopped(f'{self._folder}', f'at step {self._step}; the same command goes on.', signal)


def _rows(phase: Phase) -> int:
  """Returns about how many rows an epoch of a phase draws from its first stream."""
  batch = phase.spec.batch_size
  return phase.steps * batch if phase.steps > 0 else max(int(phase.rows.sum()), -phase.steps * batch, 1)
