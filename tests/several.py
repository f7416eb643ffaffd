"""Runs in several processes, for tests: this file is what each process executes, and `start` starts them.

Usage: python several.py HOST:PORT INDEX COUNT SILENCE '[[workdir, {override: value}], …]'
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import runs
from noisyjax.system import processes


def start(jobs: list, count: int = 2, devices: int = 2, silence: float = 60.0) -> list[subprocess.Popen]:
  """Starts processes of some CPU devices each, which execute the runs together, and returns them.

  Args:
    jobs: (workdir, {override of `runs.recipe`: value}) of each run, one after another.
    count: number of processes.
    devices: devices of each.
    silence: see `processes.join`.
  """
  text = json.dumps([[str(workdir), overrides] for workdir, overrides in jobs])
  return execute([__file__], [str(count), str(silence), text], count, devices)


def execute(program: list[str], arguments: list[str], count: int = 2, devices: int = 2) -> list[subprocess.Popen]:
  """Starts `python PROGRAM… HOST:PORT INDEX ARGUMENTS…` for each index, on some CPU devices each."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    where = f'127.0.0.1:{free.getsockname()[1]}'
  flags = f'{os.environ.get("XLA_FLAGS", "")} --xla_force_host_platform_device_count={devices}'
  paths = os.pathsep.join([str(runs.ROOT), str(runs.ROOT / 'tests')])
  environment = {**os.environ, 'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': paths}
  return [
    subprocess.Popen(
      [sys.executable, *program, where, str(index), *arguments],
      env=environment,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
    )
    for index in range(count)
  ]


def main(coordinator: str, index: str, count: str, silence: str, jobs: str) -> None:
  from noisyjax.runs import run
  from noisyjax.system import compile_cache
  from noisyjax.system.log import show

  show()
  compile_cache.enable()
  processes.join(coordinator, int(count), int(index), float(silence))
  with processes.ending_together():
    for workdir, overrides in json.loads(jobs):
      run.run(runs.recipe(Path(workdir).parent / 'data.npz', **overrides), workdir, page=False)


if __name__ == '__main__':
  main(*sys.argv[1:])
