"""Executes runs. Today all of them run here, one after another in this process.

Runs that differ only in traced numbers (learning rate, seed, floats of a strategy) share one compiled step that way.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from noisyjax.config.plan import Plan
from noisyjax.data import prepare
from noisyjax.runs import run
from noisyjax.system import interrupt
from noisyjax.system.errors import Diverged
from noisyjax.system.log import log


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """A run to execute.

  Attributes:
    plan: the resolved config.
    workdir: folder of the run.
    rerun: see `run.run`.
    page: see `run.run`.
  """

  plan: Plan
  workdir: Path
  rerun: bool = False
  page: bool = True


def launch(jobs: Sequence[Job], load: run.Load | None = None) -> list[dict | Diverged]:
  """Executes jobs in their order. Finished runs are not repeated; a run that diverges does not end the others.

  Args:
    jobs: the runs, each in a workdir of its own.
    load: loads the data of a run; None = `remembering()`.

  Returns:
    For each job, the result of its run, or the error with which it diverged.

  Raises:
    Stale: see `run.run`.
    UserError: a job cannot run.
    Stopped: Ctrl-C or SIGTERM, after the current run saved its state. The same call continues.
  """
  load = load or remembering()
  results: list[dict | Diverged] = []
  with interrupt.watched():
    for i, job in enumerate(jobs):
      interrupt.check(f'{job.workdir.parent}', f'after {i} of {len(jobs)} runs; the same command goes on.')
      log.info('%d of %d: %s', i + 1, len(jobs), job.workdir.name)
      try:
        results.append(run.run(job.plan, job.workdir, rerun=job.rerun, load=load, page=job.page))
      except Diverged as error:
        log.error('%s', error)
        results.append(error)
  return results


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
