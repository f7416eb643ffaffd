"""The states of the runs in a folder, read from their folders: finished, running, waiting or failed."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from noisyjax.reports.formatting import by_number, markdown
from noisyjax.runs import presence, standing
from noisyjax.system import formats, progress, reading, storage
from noisyjax.system.errors import UserError, one_line

STATES = ('running', 'failed', 'waiting', 'finished')
# Files that show that a folder is that of a run.
TRACES = (standing.ORDER, standing.FAILED, 'result.json', 'metrics.jsonl')
DEPTH = 3  # levels of folders below the given one: a loop has its runs in loop=i/round=r
EVERY = 5.0  # seconds between two looks of --watch


class Row(NamedTuple):
  """A run.

  Attributes:
    name: its folder, below the given one.
    state: one of STATES.
    about: epoch and time left, where it runs, or why it failed.
  """

  name: str
  state: str
  about: str


def rows(folder: Path) -> list[Row]:
  """Returns the runs in a folder, or the run that it is.

  Raises:
    UserError: there is no run.
  """
  check_folder(folder)
  found = [_row(path, folder) for path in runs(folder)]
  if not found:
    raise UserError(f'{folder}: holds no run; expected the folder of a run, a sweep, a cross-validation or a loop.')
  return found


def check_folder(folder: Path) -> None:
  """Raises UserError if there is no such folder."""
  if reading.kind(folder) != 'folder':
    raise UserError(f'{folder}: is no folder; expected that of a run, a sweep, a cross-validation or a loop.')


def text(folder: Path) -> str:
  """Returns a table of the runs that are not finished, and the number of runs in each state."""
  return _text(folder, rows(folder))


def _text(folder: Path, found: list[Row]) -> str:
  lines = [f'{sum(row.state == state for row in found)} {state}' for state in STATES]
  left = [row for state in STATES[:3] for row in found if row.state == state]
  driver = presence.of(folder)
  head = f'{folder}: {", ".join(lines)}'
  if driver is not None and driver.epochs == 0:
    head += f'; started by process {driver.pid} on {driver.host}'
  return f'{head}\n{markdown(("run", "state", ""), left)}' if left else head


def watched(folder: Path) -> Iterator[str]:
  """Yields the text every few seconds, until nothing runs or waits for a process that is there to start it."""
  while True:
    found = rows(folder)
    yield _text(folder, found)
    states = {row.state for row in found}
    if 'running' not in states and (presence.of(folder) is None or 'waiting' not in states):
      return
    time.sleep(EVERY)


def runs(folder: Path) -> list[Path]:
  """Returns the folders of runs: those that a sweep lists in its order, then others by name ("2" before "10")."""
  if _is_run(folder):
    return [folder]
  listed = formats.read_json(formats.SWEEP, folder / 'sweep.json')['runs'] if (folder / 'sweep.json').exists() else []
  found = {path.parent for name in (*TRACES, presence.NAME) for path in below(folder, name) if _is_run(path.parent)}
  first = [folder / name for name in listed]
  return [*first, *sorted(found - {*first}, key=lambda path: by_number(str(path)))]


def below(folder: Path, name: str) -> list[Path]:
  """Returns the files of a name in a folder and in those below it, from the top."""
  return [path for depth in range(DEPTH + 1) for path in sorted(folder.glob('*/' * depth + name))]


def _is_run(folder: Path) -> bool:
  at_work = presence.read(folder)
  return any((folder / trace).exists() for trace in TRACES) or bool(at_work and at_work.epochs)


def _row(path: Path, folder: Path) -> Row:
  name = path.name if path == folder else str(path.relative_to(folder))
  at_work, failure = presence.of(path), standing.failure(path)
  if at_work:
    return Row(name, 'running', f'{_progress(path, at_work)}on {at_work.host}{_job(at_work)}')
  if standing.waits(path):
    return Row(name, 'waiting', _progress(path, None))
  if (path / 'result.json').exists():
    return Row(name, 'finished', '')
  if failure:
    return Row(name, 'failed', one_line(failure.message.strip()))
  return Row(name, 'waiting', _progress(path, None))


def _job(at_work: presence.Presence) -> str:
  return ''.join(f', {scheduler} job {job}' for scheduler, job in at_work.jobs.items()) or f', process {at_work.pid}'


def _progress(path: Path, at_work: presence.Presence | None) -> str:
  """Returns the epoch of a run and the time left, by the epochs that it recorded."""
  metrics = path / 'metrics.jsonl'
  seconds = [line.get('seconds', 0.0) for line in storage.read_lines(metrics)] if metrics.exists() else []
  if at_work is None:
    return f'was interrupted after epoch {len(seconds)}' if seconds else ''
  if not at_work.epochs:
    return ''
  known = seconds[1:] or seconds  # the first one includes compilation
  left = (at_work.epochs - len(seconds)) * sum(known) / len(known) if known else None
  return f'epoch {len(seconds)}/{at_work.epochs}, {f"{progress.duration(left)} left, " if left is not None else ""}'
