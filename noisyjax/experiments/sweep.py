"""Runs every point of a sweep over the fields of one recipe, and writes their table."""

from pathlib import Path

from ml_collections import ConfigDict

from noisyjax.config.check import plan_of
from noisyjax.config.override import override
from noisyjax.experiments.grid import Overrides, name
from noisyjax.experiments.outcome import concluded
from noisyjax.reports import collection
from noisyjax.runs import identity, launch, presence, run
from noisyjax.runs.job import Job
from noisyjax.system import lock
from noisyjax.system.errors import UserError, listed


def sweep(
  config: ConfigDict,
  points: list[Overrides],
  workdir: str,
  rerun: bool = False,
  engine: launch.Engine | None = None,
) -> tuple[list[dict], str]:
  """Runs every point in a folder of its own; finished points are not run again.

  Args:
    config: config of the recipe.
    points: what each point changes.
    workdir: folder of the sweep.
    rerun: whether points that were run with another config, other data or other code are run again.
    engine: executes the runs; None = in this process.

  Returns:
    The results of the points, and the table of all finished runs in the folder, including those of earlier calls,
    grouped over seeds. The table is also written to table.md, table.csv and table.tex.

  Raises:
    UserError: before anything runs: a point names an unknown field or makes an invalid config, or a folder holds a run
      with another config or other data (see `run.run`). After all points ran and the table was written: points failed.
  """
  planned = jobs(config, points, workdir, rerun)
  with lock.held(workdir), presence.shown(Path(workdir)):
    load = launch.remembering()
    if not rerun:
      _check_old(planned, workdir, load)
    fields = list(dict.fromkeys(field for point in points for field in point))
    collection.remember(workdir, [job.workdir.name for job in planned], fields)
    results = launch.launch(planned, load, engine)
    return concluded('sweep', 'points', planned, results, lambda done: collection.write(workdir))


def jobs(config: ConfigDict, points: list[Overrides], workdir: str, rerun: bool = False) -> list[Job]:
  """Returns the runs of a sweep.

  Raises:
    UserError: there is no point, or a point is invalid or given twice.
  """
  out, taken = [], {}
  for i, point in enumerate(points):
    own = config.copy_and_resolve_references()
    override(own, point, f'sweep point {i} ({name(point)})')
    out.append(Job(plan_of(own), Path(workdir) / name(point), rerun))
    if (other := taken.setdefault(name(point), i)) != i:
      what = 'are the same' if points[other] == point else f'would share a folder: {points[other]} and {point}'
      raise UserError(f'sweep: points {other} and {i} ({name(point)}) {what}; expected every point once.')
  if not out:
    raise UserError('sweep: there is no point to run.')
  return out


def _check_old(jobs: list[Job], workdir: str, load: run.Load) -> None:
  """Raises Stale, naming all points that were run with another config or other data, before anything runs."""
  found = {}
  for job in jobs:
    try:
      run.finished(job.plan, job.workdir, load)
    except identity.Stale as error:
      found[job.workdir.name] = error
  if found:
    raise identity.Stale(
      f'{workdir}: {len(found)} of {len(jobs)} points are of other data or another config, and nothing is run beside '
      f'them: {listed(found)}. The first: {next(iter(found.values()))}'
    )
