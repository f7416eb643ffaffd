"""Who is at work in a folder: running.json, whose time of modification is a heartbeat.

The lock of a folder keeps a second process out; this file tells others, also on other machines that share the folder,
which process it is and that it is alive.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from noisyjax.system import storage
from noisyjax.system.errors import UserError

NAME = 'running.json'
BEAT = 5.0  # seconds between two heartbeats
SILENT = 60.0  # seconds without a heartbeat after which a process of another machine counts as dead
# Environment variables by which a scheduler names the job that a process belongs to.
JOBS = {'slurm': 'SLURM_JOB_ID', 'kubernetes': 'NOISYJAX_POD'}


class Presence(NamedTuple):
  """A process that is at work in a folder.

  Attributes:
    host: name of its machine.
    pid: process id.
    born: start of the process in clock ticks since boot, so that a reused id is noticed; 0 = unknown.
    epochs: maximum number of epochs of the run; 0 for a folder of runs.
    jobs: scheduler → id of the job that the process belongs to.
    folder: the folder on its machine, by which a copy of it is noticed; '' = unknown.
  """

  host: str
  pid: int
  born: int
  epochs: int
  jobs: dict[str, str]
  folder: str = ''

  @property
  def here(self) -> bool:
    """Whether it is a process of this machine."""
    return self.host == socket.gethostname()


@contextlib.contextmanager
def shown(folder: Path, epochs: int = 0) -> Iterator[None]:
  """Says in `folder`, which this process has locked, that it is at work there, until the block ends.

  Of the JAX processes of one run, only the one that writes says so.
  """
  if not storage.writes():
    yield
    return
  path, pid = folder / NAME, os.getpid()
  jobs = {name: os.environ[variable] for name, variable in JOBS.items() if variable in os.environ}
  here = str(folder.resolve())
  storage.write_json(path, Presence(socket.gethostname(), pid, _born(pid), epochs, jobs, here)._asdict())
  done = threading.Event()

  def beat() -> None:
    while not done.wait(BEAT):
      with contextlib.suppress(OSError):
        os.utime(path)

  thread = threading.Thread(target=beat, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
    with contextlib.suppress(UserError):
      storage.remove(path)


def read(folder: Path) -> Presence | None:
  """Returns the process that was last at work in a folder, dead or alive, unless it left in order."""
  try:
    return Presence(**storage.read_json(folder / NAME))
  except (UserError, TypeError):  # none, or removed meanwhile
    return None


def of(folder: Path) -> Presence | None:
  """Returns the process that is at work in a folder; None if there is none, or it has died."""
  found = read(folder)
  if found is None:
    return None
  if found.here:
    if found.folder and not _same(folder, found.folder):
      return None  # the process is at work in the folder that this one is a copy of
    return found if found.born and _born(found.pid) == found.born else None
  try:
    age = time.time() - (folder / NAME).stat().st_mtime
  except OSError:
    return None
  return found if age < SILENT else None


def _same(folder: Path, other: str) -> bool:
  """Returns whether two paths lead to one folder, which may be mounted twice."""
  try:
    return folder.samefile(other)
  except OSError:
    return False


def _born(pid: int) -> int:
  """Returns the start time of a process in clock ticks since boot; 0 if there is no such process, or it is a zombie."""
  try:
    words = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
  except OSError:
    return 0
  return 0 if words[0] == 'Z' else int(words[19])
