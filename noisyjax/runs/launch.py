"""Executes runs where an engine says: here, in processes of this machine, or on a cluster. `Here` is the default.

`SideBySide` trains several runs at once in this process.

An engine is a file such as those of configs/engines, whose `get_engine` returns it.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Protocol

import jax
from ml_collections import ConfigDict

from noisyjax.config import compiled_alike
from noisyjax.data import prepare
from noisyjax.engine import together
from noisyjax.engine.together import Steps
from noisyjax.runs import identity, run, standing
from noisyjax.runs.job import Job
from noisyjax.system import interrupt, lock
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log

ROWS = ('data.train', 'data.val')  # fields of which folds have their own
Outcome = dict | UserError  # the content of result.json, or the error with which a run failed


class Engine(Protocol):
  """Executes runs."""

  def launch(self, jobs: Sequence[Job], load: run.Load | None = None) -> list[Outcome]:
    """Executes jobs. Finished runs are not repeated; a run that fails does not end the others.

    Args:
      jobs: the runs, each in a workdir of its own, all in one folder.
      load: loads the data of a run that is executed in this process; None = `remembering()`.

    Returns:
      For each job, the result of its run, or the error with which it failed.

    Raises:
      Stale: see `run.run`.
      Stopped: Ctrl-C or SIGTERM, after the running runs saved their states. The same call continues.
    """
    ...

  def text(self, jobs: Sequence[Job]) -> str:
    """Returns what `launch` would start."""
    ...


@dataclasses.dataclass(frozen=True)
class Here:
  """Executes runs in this process, one after another.

  Runs that differ only in traced numbers (learning rate, seed, floats of a strategy) share one compiled step that way.
  """

  def launch(self, jobs: Sequence[Job], load: run.Load | None = None) -> list[Outcome]:
    load = load or remembering()
    results: list[Outcome] = []
    with interrupt.watched():
      for i, job in enumerate(jobs):
        interrupt.check(f'{job.workdir.parent}', f'after {i} of {len(jobs)} runs; the same command goes on.')
        log.info('%d of %d: %s', i + 1, len(jobs), job.workdir.name)
        results.append(executed(job, load))
        standing.settle(job.workdir)  # an engine of processes may have ordered it before
    return results

  def text(self, jobs: Sequence[Job]) -> str:
    return '\n'.join(['in this process, one after another:', *(f'  {job.workdir}' for job in jobs)])


@dataclasses.dataclass(frozen=True)
class SideBySide:
  """Trains several runs at once in this process, with `vmap` in one compiled program where their shapes are equal.

  Attributes:
    replicas: maximum number of runs at once, 2 or more.
    vmap: whether their steps are mapped, see `together.side_by_side`; None: on GPUs and TPUs.
  """

  replicas: int
  vmap: bool | None = None

  def launch(self, jobs: Sequence[Job], load: run.Load | None = None) -> list[Outcome]:
    load = load or remembering()
    vmap = jax.default_backend() != 'cpu' if self.vmap is None else self.vmap
    kinds, found = self._kinds(jobs), {}
    if single := [kind[0].workdir.name for kind in kinds if len(kind) == 1 < len(jobs)]:
      log.info('%s: a static field differs from those of all other runs; each trains by itself.', listed(single))
    with interrupt.watched():
      for kind in kinds:
        left = sum(job.rerun or not (job.workdir / 'result.json').exists() for job in kind)
        most = min(self.replicas, max(1, left))  # finished runs share no seconds with those that train
        steps = {job.workdir.name: _steps(job, load, most) for job in kind}
        found |= together.side_by_side(steps, most, vmap)
        for outcome in found.values():
          if isinstance(outcome, interrupt.Stopped):
            raise outcome
    return [found[job.workdir.name] for job in jobs]

  def text(self, jobs: Sequence[Job]) -> str:
    head = f'in this process, at most {self.replicas} at once; those of a line in one program where shapes allow:'
    return '\n'.join([head, *(f'  {" ".join(str(job.workdir) for job in kind)}' for kind in self._kinds(jobs))])

  def _kinds(self, jobs: Sequence[Job]) -> list[list[Job]]:
    """Returns the runs in groups that differ in traced numbers and training rows alone."""
    kinds: dict[str, list[Job]] = {}
    for job in jobs:
      kinds.setdefault(compiled_alike.key(job.plan, ROWS), []).append(job)
    return list(kinds.values())


def launch(jobs: Sequence[Job], load: run.Load | None = None, engine: Engine | None = None) -> list[Outcome]:
  """Executes jobs with an engine, see `Engine.launch`; None = `Here()`."""
  return (engine or Here()).launch(jobs, load)


def executed(job: Job, load: run.Load) -> Outcome:
  """Executes a run in this process; if it fails, records that in its folder and returns the error.

  Raises:
    Stale: see `run.run`.
    InUse: another process uses the workdir.
    Stopped: Ctrl-C or SIGTERM, after the run saved its state.
  """
  with _recorded(job) as failed:
    return job.execute(load)
  return failed[0]


def _steps(job: Job, load: run.Load, replicas: int) -> Steps[Outcome | interrupt.Stopped]:
  """Executes a run; after a signal, returns it when the state is saved, so that the others save theirs, too."""
  try:
    interrupt.check(f'{job.workdir}', 'before it began; the same command goes on.')
    log.info('%s begins.', job.workdir.name)
    outcome: Outcome | None = None
    with _recorded(job) as failed:
      outcome = yield from job.steps(load, replicas)
    standing.settle(job.workdir)
    return failed[0] if outcome is None else outcome
  except interrupt.Stopped as stopped:
    return stopped


@contextlib.contextmanager
def _recorded(job: Job) -> Iterator[list[UserError]]:
  """Yields a list that receives the error with which the block fails; records it in the folder of the run, too."""
  failed: list[UserError] = []
  standing.forget_failure(job.workdir)
  try:
    yield failed
  except (identity.Stale, lock.InUse):
    raise
  except UserError as error:
    log.error('%s', error)
    with contextlib.suppress(UserError):  # the disk may be full
      standing.fail(job.workdir, error)
    failed.append(error)


def remembering() -> run.Load:
  """Returns `prepare` with a memory of its last call, so that consecutive runs on the same data load them once."""
  memory: dict[str, tuple[prepare.Prepared, prepare.Audit]] = {}

  def load(config: ConfigDict) -> tuple[prepare.Prepared, prepare.Audit]:
    key = config.data.to_json() + config.noise.to_json()  # all fields that `prepare` reads
    if key not in memory:
      memory.clear()  # before loading: one data set in memory at a time
      memory[key] = prepare.prepare(config)
    return memory[key]

  return load
