"""An engine that executes runs in new processes: groups them, starts a command for each group, and starts it again.

The state is in the folders of the runs (see `standing`). A command executes a group of runs that share their compiled
steps; when it ends early, the same command with the runs that are left is submitted again. The run that a process
executed when it died is tried once more and then counts as failed. A process that was taken away costs its run nothing,
unless that happens LOSSES times while the run finishes no epoch. Whatever happens to one run, the others go on.
"""

import collections
import dataclasses
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path

from noisyjax.config import compiled_alike
from noisyjax.runs import order, run, standing
from noisyjax.runs.engines.pool import Lost, Pool, program
from noisyjax.runs.job import Job
from noisyjax.runs.launch import Outcome, remembering
from noisyjax.system import formats, interrupt, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.system.processes import GO_ON

TRIES = 2  # how often a run is executed that its process does not survive
LOSSES = 20  # how often the process of a run may be taken away between two epochs
POLL = 0.5  # seconds
# Exit codes of a process that was taken away: it was asked to end and saved its state, or it lost a peer.
TAKEN = (-15, 128 + 15, GO_ON)
TAIL = 2000  # bytes at the end of a log in which its last line is looked for

Group = list[Job]


@dataclasses.dataclass(frozen=True)
class FanOut:
  """Executes runs in new processes, see `Engine`.

  Attributes:
    pool: executes the commands.
    group: maximum number of runs of a command; 0 = so many that there is a command for each place in the pool.
  """

  pool: Pool
  group: int = 0

  def __post_init__(self) -> None:
    if self.pool.width < 1 or self.group < 0:
      raise UserError(
        f'--engine: found {self.pool.width} places and group={self.group}; expected 1 place or more, and a group of 0 '
        'or more.'
      )

  def launch(self, jobs: Sequence[Job], load: run.Load | None = None) -> list[Outcome]:
    root = jobs[0].workdir.parent
    found = _finished(jobs, load or remembering())
    todo = [job for job in jobs if job.workdir not in found]
    for folder in found:  # a driver that was killed may have left the order
      standing.settle(folder)
    if todo:
      for job in todo:
        standing.forget_failure(job.workdir)
        order.write(job)
      logs = root / 'engine'
      storage.make_folder(logs)
      with interrupt.watched():
        self.pool.open(logs)
        try:
          _Driver(self.pool, logs, self.groups(todo), len(jobs)).drive()
        finally:
          self.pool.close()
    return [found[job.workdir] if job.workdir in found else _outcome(job.workdir) for job in jobs]

  def groups(self, jobs: Sequence[Job]) -> list[Group]:
    """Returns the runs in groups that share their compiled steps; large groups are parted, so that no place is idle."""
    most = self.group or -(-len(jobs) // self.pool.width)
    alike: dict[str, Group] = {}
    for job in jobs:
      alike.setdefault(compiled_alike.key(job.plan), []).append(job)
    return [group[i : i + most] for group in alike.values() for i in range(0, len(group), most)]

  def text(self, jobs: Sequence[Job]) -> str:
    return self.pool.text([command(group) for group in self.groups(jobs)])


class _Driver:
  """Submits groups until every run has finished or failed.

  Args:
    pool: open.
    logs: folder of the logs.
    groups: the runs.
    total: number of runs for messages, with those that were finished before.
  """

  def __init__(self, pool: Pool, logs: Path, groups: Sequence[Group], total: int) -> None:
    self._pool, self._logs, self._total = pool, logs, total
    self._left = {job.workdir for group in groups for job in group}
    self._tries: collections.Counter[Path] = collections.Counter()
    self._losses: collections.Counter[tuple[Path, int]] = collections.Counter()
    self._futures: dict[Future[int], Group] = {}
    done = total - len(self._left)
    log.info(
      '%d of %d runs are finished; %d commands for the others, %d at once; their logs: %s',
      done,
      total,
      len(groups),
      min(pool.width, len(groups)),
      logs,
    )
    for group in groups:
      self._submit(group)

  def _submit(self, group: Group) -> None:
    self._futures[self._pool.submit(command(group), self._log(group))] = group

  def _log(self, group: Group) -> Path:
    return self._logs / f'{group[0].workdir.name}.log'

  def drive(self) -> None:
    checked = time.monotonic()
    while self._futures:
      done, _ = wait(self._futures, POLL, FIRST_COMPLETED)
      interrupt.check(f'{self._logs.parent}', f'with {len(self._left)} runs left; the same command goes on.')
      self._say()
      for future in done:
        self._ended(future, self._futures.pop(future))
      if time.monotonic() - checked >= 1:
        checked = time.monotonic()
        self._pool.check()

  def _say(self) -> None:
    """Logs the runs that have finished or failed since the last call."""
    for folder in sorted(self._left):
      if not standing.waits(folder):
        self._left.remove(folder)
        failure = standing.failure(folder)
        what = f'failed: {failure.message}' if failure else 'finished'
        log.info('%d of %d: %s %s', self._total - len(self._left), self._total, folder.name, what)

  def _ended(self, future: Future[int], group: Group) -> None:
    """Submits what a command left undone."""
    left = [job for job in group if standing.waits(job.workdir)]
    try:
      code = future.result()
    except Lost:
      code = None
    self._say()
    if not left:
      return
    first, rest = left[0], left[1:]  # the command takes them in order
    last = last_line(self._log(group))
    if code is None or code in TAKEN:
      state = (first.workdir, _recorded(first.workdir))
      self._losses[state] += 1
      count, most, what = self._losses[state], LOSSES, 'was taken away'
      why = f'{what} {most} times while the run finished no epoch'
    else:
      self._tries[first.workdir] += 1
      count, most, what = self._tries[first.workdir], TRIES, f'ended with code {code} ({last})'
      why = f'ended with code {code} {most} times: {last}'
    if count < most:
      log.warning('%s: its process %s; it is started again.', first.workdir, what)
      self._submit(left)
      return
    standing.fail(first.workdir, UserError(f'{first.workdir}: its process {why}.'))
    standing.settle(first.workdir)
    self._say()
    if rest:
      self._submit(rest)


def command(group: Group) -> list[str]:
  """Returns the command line that executes ordered runs."""
  return [*program(), 'work', f'--workdir={",".join(str(job.workdir) for job in group)}']


def _recorded(folder: Path) -> int:
  """Returns the size of the record of a run's epochs, in bytes."""
  try:
    return (folder / 'metrics.jsonl').stat().st_size
  except OSError:
    return 0


def last_line(path: Path) -> str:
  """Returns the last line of a log that is not empty."""
  try:
    with path.open('rb') as file:
      file.seek(max(0, path.stat().st_size - TAIL))
      lines = file.read().decode(errors='replace').split('\n')
  except OSError:
    return 'it left no log'
  return next((line.strip().rstrip('.') for line in reversed(lines) if line.strip()), 'it printed nothing')


def _finished(jobs: Sequence[Job], load: run.Load) -> dict[Path, Outcome]:
  """Returns the results of the finished runs, by folder; of those that may be run again, none.

  Raises:
    Stale: a folder holds a run with another config or other data.
  """
  found = ((job, None if job.rerun else job.finished(load)) for job in jobs)
  return {job.workdir: result for job, result in found if result is not None}


def _outcome(folder: Path) -> Outcome:
  """Returns the result of a settled run, or the error with which it failed."""
  if failure := standing.failure(folder):
    return failure.error()
  try:
    return formats.read_json(formats.RUN, folder / 'result.json')
  except UserError as error:  # on a full disk, a failure cannot be recorded
    return error
