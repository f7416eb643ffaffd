"""Ends the runs in a folder: first the process that starts others, then those that are still at work.

They get a SIGTERM and save their states: the command that started them, given again, continues them.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from noisyjax.runs import presence, status
from noisyjax.runs.presence import Presence
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

JOBS = 'jobs.json'  # in W/engine: jobs of a scheduler that the driver has asked for; removed when it ends in order
PATIENCE = 120.0  # seconds to wait until a process has saved its state


def _scancel(job: str) -> list[str]:
  return ['scancel', job]


def _delete_pod(job: str) -> list[str]:
  namespace, _, pod = job.rpartition('/')
  return [
    'kubectl',
    'delete',
    'pod',
    f'--namespace={namespace or "default"}',
    '--ignore-not-found',
    '--wait=false',
    pod,
  ]


# Scheduler → the command that ends a job, given its name.
COMMANDS = {'slurm': _scancel, 'kubernetes': _delete_pod}


def cancel(folder: Path) -> str:
  """Ends what runs in a folder, and returns what was ended.

  Raises:
    UserError: there is no such folder, a process is on another machine, or does not end.
  """
  status.check_folder(folder)
  ended = []
  for path in status.below(folder, presence.NAME):  # from the top: first who would start others
    if there := presence.of(path.parent):
      ended.append(_end(path.parent, there))
  for path in status.below(folder, f'engine/{JOBS}'):  # whose driver was killed
    found = formats.read_json(formats.RUN, path)
    refusals = {job: _refusal(found['scheduler'], job) for job in found['jobs']}  # some may have ended long ago
    for job, refusal in refusals.items():
      said = f'cannot be ended: {refusal}' if refusal else 'is asked to end'
      ended.append(f'{path.parent.parent}: {found["scheduler"]} job {job} {said}.')
    if not any(refusals.values()):
      storage.remove(path)
  return '\n'.join(ended) or f'{folder}: nothing runs.'


def _end(folder: Path, there: Presence) -> str:
  """Ends a process and waits until it is gone."""
  if there.here:
    with contextlib.suppress(ProcessLookupError):
      os.kill(there.pid, signal.SIGTERM)
    what = f'process {there.pid}'
  elif there.jobs:
    what = _end_job(folder, *next(iter(there.jobs.items())))
  else:
    raise UserError(
      f'{folder}: process {there.pid} of {there.host} is at work here; expected one of this machine. Run cancel there.'
    )
  log.info('%s: %s is asked to end.', folder, what)
  deadline = time.monotonic() + PATIENCE
  while presence.of(folder) == there:
    if time.monotonic() > deadline:
      raise UserError(f'{folder}: {what} was asked to end and is still there after {PATIENCE:.0f} s.')
    time.sleep(0.2)
  return f'{folder}: {what} has ended.'


def _end_job(folder: Path, scheduler: str, job: str) -> str:
  """Asks a scheduler to end a job, and returns what it is called."""
  what = f'{scheduler} job {job}'
  if refusal := _refusal(scheduler, job):
    raise UserError(f'{folder}: cannot end {what}: {refusal}.')
  return what


def _refusal(scheduler: str, job: str) -> str:
  """Asks a scheduler to end a job, and returns why it refuses; '' if it does not.

  Raises:
    UserError: the command of the scheduler cannot be executed here.
  """
  if scheduler not in COMMANDS:
    raise UserError(f'{scheduler} job {job}: no command is known that ends it; end it by hand.')
  command = COMMANDS[scheduler](job)
  try:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
  except OSError as error:
    raise UserError(f'{scheduler} job {job}: {command[0]} cannot be executed: {error.strerror or error}.') from None
  return ' '.join(done.stderr.split()) or f'exit code {done.returncode}' if done.returncode else ''
