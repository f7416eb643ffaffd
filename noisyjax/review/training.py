"""Training on a version, started from the page: the command of a run that is evidence, with another table."""

import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noisyjax.system import formats, reading, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log
from noisyjax.tables.versions import SHORT

_CURVES = ('loss', 'val_accuracy')  # of metrics.jsonl; test scores are not in that file
_REPLACED = ('--config.data.table', '--workdir', '--rerun', '--norerun')
_GRACE = 20.0  # seconds that a training has to write its checkpoint when the page ends


class Run(NamedTuple):
  """A run that can be repeated on another version.

  Attributes:
    workdir: its folder.
    arguments: of `noisyjax`: "train" and its flags.
  """

  workdir: Path
  arguments: list[str]


def runs(workdirs: Sequence[Path]) -> list[Run]:
  """Returns the runs among folders that the command `train` made."""
  found = []
  for workdir in workdirs:
    if (path := workdir / 'environment.json').exists():
      with reading.reading(path, 'the environment of a run'):
        command = [str(part) for part in formats.read_json(formats.RUN, path).get('command', [])]
      if 'train' in command[:3]:
        found.append(Run(workdir, command[command.index('train') :]))
  return found


class Trainings:
  """At most one training at a time, a process of its own, which ends with the page; the same command goes on later.

  Attributes:
    workdirs: of the trainings that were started, the last one last.
  """

  def __init__(self, known: Sequence[Run], table: Path) -> None:
    self.workdirs: list[Path] = []
    self._known, self._table = known, table
    self._process: subprocess.Popen[bytes] | None = None
    self._log = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    self._lock = threading.Lock()

  def command(self, version: str) -> list[str]:
    """Returns the arguments of noisyjax that train on a version; they hold "CONFIG" where no run says how."""
    place = f'--config.data.table={self._table}@{version[:SHORT]}'
    if not self._known:
      return ['train', '--config=CONFIG', place, f'--workdir=runs/{version[:SHORT]}']
    run, kept, skip = self._known[0], [], False
    for argument in run.arguments:
      name, equals, _ = argument.partition('=')
      if skip:  # the value of a flag that is written as two words
        skip = False
      elif name in _REPLACED:
        skip = not equals and name in _REPLACED[:2]
      else:
        kept.append(argument)
    return [*kept, place, f'--workdir={run.workdir.with_name(f"{run.workdir.name}@{version[:SHORT]}")}']

  def start(self, version: str) -> None:
    """Starts a training; raises UserError if one runs, or if no run says how to train."""
    with self._lock:
      if not self._known:
        raise UserError('no run that is evidence was made by the command train; expected one, or start it by hand.')
      if self._process and self._process.poll() is None:
        raise UserError('a training runs already; expected that it ends first.')
      arguments = self.command(version)
      self.workdirs.append(Path(arguments[-1].partition('=')[2]))
      self._log.seek(0)  # the place is shared with the process before, which moved it
      self._log.truncate()
      self._process = subprocess.Popen(
        [sys.executable, '-m', 'noisyjax', *arguments],
        stdin=subprocess.DEVNULL,
        stdout=self._log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
      )

  def told(self) -> dict[str, Any]:
    """Returns whether a training runs, how the last one ended, its last line, and the curves of all runs by epoch."""
    process = self._process
    code = process.poll() if process else None
    curves = [_curves(workdir) for workdir in [run.workdir for run in self._known] + self.workdirs]
    return {'running': bool(process) and code is None, 'code': code, 'said': self._said(), 'curves': curves}

  def _said(self) -> str:
    size = os.fstat(self._log.fileno()).st_size
    tail = os.pread(self._log.fileno(), 2000, max(0, size - 2000)).decode(errors='replace')
    return next((line for line in reversed(tail.replace('\r', '\n').splitlines()) if line.strip()), '')[:500]

  def close(self) -> None:
    """Ends a training that runs; it keeps its last checkpoint."""
    if self._process and self._process.poll() is None:
      self._process.terminate()
      try:
        self._process.wait(_GRACE)
      except subprocess.TimeoutExpired:
        self._process.kill()
        self._process.wait()
    self._log.close()


def _curves(workdir: Path) -> dict[str, Any]:
  path = workdir / 'metrics.jsonl'
  try:
    lines = [line for line in storage.read_lines(path) if isinstance(line, dict)] if path.exists() else []
  except UserError as error:
    log.warning('%s', error)
    lines = []
  series = {
    name: [v for line in lines if isinstance(v := line.get(name), float) and math.isfinite(v)] for name in _CURVES
  }
  return {'name': workdir.name, **series}
