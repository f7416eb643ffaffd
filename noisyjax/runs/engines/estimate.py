"""What an engine would start, as text, and how long it would take."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from noisyjax.config import compiled_alike
from noisyjax.config.check import plan_of
from noisyjax.runs import dry_run, launch
from noisyjax.runs.job import Job
from noisyjax.system import progress
from noisyjax.system.errors import UserError


def text(engine: launch.Engine, jobs: Sequence[Job], timed: bool = False) -> str:
  """Returns the commands of an engine and an estimate of their duration. Data are loaded; nothing is written.

  Args:
    engine: executes the runs.
    jobs: the runs.
    timed: whether to measure the time of a step, see `dry_run.estimated`.
  """
  each = {}
  for job in jobs:
    if (key := compiled_alike.key(job.plan)) not in each:
      each[key] = dry_run.estimated(job.plan.config, timed).seconds
  total = sum(each[compiled_alike.key(job.plan)] for job in jobs)
  return '\n'.join(
    [
      engine.text(jobs),
      '',
      f'runs: {len(jobs)}, of {len(each)} kinds that compile apart',
      f'time: {progress.duration(total)} ({total / 3600:.2f} hours) of training at the speed of this machine, without '
      'compilation and loading',
      f'divided by the places: {progress.duration(total / width(engine, jobs))}, if each is as fast as this machine',
      dry_run.WROTE,
    ]
  )


def of_folds(config: ConfigDict, folds: int, folder: str | Path) -> list[Job]:
  """Returns runs like those of folds, for an estimate: a fraction of the rows validates in each.

  Args:
    config: config of all folds.
    folds: number of folds.
    folder: folder of the folds.

  Raises:
    UserError: the config is invalid, or there are too few folds.
  """
  if folds < 2:
    raise UserError(f'folds: found {folds}, expected 2 or more.')
  config = config.copy_and_resolve_references()
  config.data.val = f'{1 / folds}'
  plan = plan_of(config)
  return [Job(plan, Path(folder) / f'fold={i}') for i in range(folds)]


def width(engine: launch.Engine, jobs: Sequence[Job]) -> int:
  """Returns how many of the jobs an engine executes at once."""
  pool = getattr(engine, 'pool', None)
  return min(pool.width, len(jobs)) if pool else 1
