"""From the results of many runs to their table, although some may have failed."""

from collections.abc import Callable, Sequence

from noisyjax.reports.tables import Table
from noisyjax.runs.job import Job
from noisyjax.runs.launch import Outcome
from noisyjax.system.errors import Diverged, UserError, listed


def concluded(
  command: str,
  unit: str,
  jobs: Sequence[Job],
  results: Sequence[Outcome],
  write: Callable[[dict[str, dict]], Table | str],
) -> tuple[list[dict], str]:
  """Writes the table of the finished runs; only then raises an error for those that failed.

  Args:
    command: name of the command, for messages.
    unit: what a run is called in messages, in the plural: "points" or "folds".
    jobs: the runs.
    results: the result of each job, or its error, as `launch` returns them.
    write: writes the table of the finished runs and returns it, or its text; its argument is the folder name → result
      of each.

  Returns:
    The results, and the table as text.

  Raises:
    UserError: runs failed: the error of the first one if no run finished, or one that names them and the file of the
      table.
  """
  done = {job.workdir.name: found for job, found in zip(jobs, results) if not isinstance(found, UserError)}
  failed = {job.workdir.name: found for job, found in zip(jobs, results) if isinstance(found, UserError)}
  first = next(iter(failed.values()), None)
  if first and not done:
    raise first
  text = str(write(done))
  if first:
    what = 'diverged' if all(isinstance(found, Diverged) for found in failed.values()) else 'failed'
    raise UserError(
      f'{command}: {len(failed)} of {len(jobs)} {unit} {what} ({listed(failed)}); '
      f'{jobs[0].workdir.parent / "table.md"} has the others. The first: {first}'
    )
  return list(done.values()), text
