"""From the results of many runs to their table, although some may have diverged."""

from collections.abc import Callable, Sequence

from noisyjax.reports.tables import Table
from noisyjax.runs.launch import Job
from noisyjax.system.errors import Diverged, UserError, listed


def concluded(
  command: str,
  unit: str,
  jobs: Sequence[Job],
  results: Sequence[dict | Diverged],
  write: Callable[[dict[str, dict]], Table | str],
) -> tuple[list[dict], str]:
  """Writes the table of the finished runs; only then raises an error for those that diverged.

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
    Diverged: no run finished; the error of the first one.
    UserError: some runs diverged; the message names them and the file of the table.
  """
  done = {job.workdir.name: found for job, found in zip(jobs, results) if not isinstance(found, Diverged)}
  failed = {job.workdir.name: found for job, found in zip(jobs, results) if isinstance(found, Diverged)}
  first = next(iter(failed.values()), None)
  if first and not done:
    raise first
  text = str(write(done))
  if first:
    raise UserError(
      f'{command}: {len(failed)} of {len(jobs)} {unit} diverged ({listed(failed)}); '
      f'{jobs[0].workdir.parent / "table.md"} has the others. The first: {first}'
    )
  return list(done.values()), text
