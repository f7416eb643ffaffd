"""What a worker of a cluster executes: one command, in a process that sees one device of the worker's node.

Nothing but the standard library is imported, so that a worker needs no more than this file.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

STARTER = 'NOISYJAX_STARTER'  # environment variable: the process that started the command, which ends with it
DEVICES = ('CUDA_VISIBLE_DEVICES', 'ROCR_VISIBLE_DEVICES')  # in which a scheduler lists the devices of a job


def execute(command: Sequence[str], log: str, cwd: str) -> int:
  """Executes a command and returns its exit code.

  Args:
    command: the command line.
    log: file to which what it prints is appended.
    cwd: the current folder of the process that asked for it.
  """
  with Path(log).open('ab') as out:
    process = subprocess.Popen(
      command,
      cwd=cwd,
      env=environment() | {STARTER: str(os.getpid())},
      stdin=subprocess.DEVNULL,
      stdout=out,
      stderr=subprocess.STDOUT,
    )
  if threading.current_thread() is threading.main_thread():  # a block that is cancelled: the command saves its state
    signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
  return process.wait()


def environment() -> dict[str, str]:
  """Returns the environment of a command: of the devices that the job has on this node, the one of this worker.

  The scheduler numbers them as it likes, such as "2,5": the rank of the worker counts within that list.
  """
  rank, own = int(os.environ.get('PARSL_WORKER_RANK', '0')), dict(os.environ)
  for name in DEVICES:
    if listed := own.get(name, ''):
      devices = listed.split(',')
      own[name] = devices[rank % len(devices)]
  return own
