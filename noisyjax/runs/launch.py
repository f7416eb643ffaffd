"""Executes runs where an engine says: here, in processes of this machine, or on a cluster. `Here` is the default.

An engine is a file such as those of configs/engines, whose `get_engine` returns it.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Protocol

from ml_collections import ConfigDict

from noisyjax.data import prepare
from noisyjax.runs import identity, run, standing
from noisyjax.runs.job import Job
from noisyjax.system import interrupt, lock
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

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
  standing.forget_failure(job.workdir)
  try:
    return job.execute(load)
  except (identity.Stale, lock.InUse):
    raise
  except UserError as error:
    log.error('%s', error)
    with contextlib.suppress(UserError):  # the disk may be full
      standing.fail(job.workdir, error)
    return error


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
