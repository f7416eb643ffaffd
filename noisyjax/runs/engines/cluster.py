"""A pool of workers on a cluster, through Parsl: any `parsl.Config` with one HighThroughputExecutor.

Parsl asks a scheduler for blocks (jobs of one or more nodes), starts workers in them, and hands them commands. What
Parsl leaves to its user is done here:

* its programs are found without an activated environment;
* a worker or block that was taken away costs no run anything (`FanOut` starts the command again), while three blocks
  that fail in a row end the sweep;
* what a block printed is shown if none of its workers has connected within a minute;
* the interchange, a process beside this one, ends with this one, however this one ends; so do the blocks, which notice;
* the ids of the blocks' jobs are in jobs.json, by which `cancel` ends them if this process was killed.
"""

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from noisyjax.config import recipe_files
from noisyjax.runs.cancel import JOBS
from noisyjax.runs.engines import task
from noisyjax.runs.engines.pool import Lost
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

try:
  import parsl
except ImportError:
  raise UserError("--engine: a cluster needs Parsl, which is not installed: pip install 'noisyjax[engines]'.") from None
from parsl.errors import ParslError
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.jobs.states import JobState

SILENT = 60.0  # seconds without a worker after which the output of a block is shown
PROGRAMS = Path(sys.executable).parent  # of the environment: interchange.py, process_worker_pool.py
# Seconds: a node that is lost is noticed after half a minute.
HEARTBEAT = {'heartbeat_period': 5, 'heartbeat_threshold': 30}
# The interchange gets a SIGTERM when this process has died.
INTERCHANGE = ('setpriv', '--pdeathsig', 'TERM', sys.executable, str(PROGRAMS / 'interchange.py'))


def worker_init(*lines: str) -> str:
  """Returns what a block does before it starts workers: finds the programs and this code; then the lines."""
  code = recipe_files.root().parent if recipe_files.root().name == 'configs' else None
  path = [f'export PATH={shlex.quote(str(PROGRAMS))}:"$PATH"']
  path += [f'export PYTHONPATH={shlex.quote(str(code))}"${{PYTHONPATH:+:$PYTHONPATH}}"'] if code else []
  return '\n'.join([*path, *lines]) + '\n'


def executor(provider: Any, each: int, **more: Any) -> HighThroughputExecutor:
  """Returns Parsl's executor for blocks of a provider.

  Args:
    provider: asks a scheduler for blocks.
    each: workers on each node.
    **more: further arguments of the executor.
  """
  return HighThroughputExecutor(
    label='noisyjax',
    provider=provider,
    max_workers_per_node=each,
    cores_per_worker=1e-3,  # `each` alone decides
    block_error_handler=windowed_error_handler,
    interchange_launch_cmd=INTERCHANGE,
    **HEARTBEAT | more,
  )


def config(provider: Any, each: int, period: float = 5.0) -> parsl.Config:
  """Returns Parsl's config for blocks of a provider; blocks without work end after half a minute.

  Args:
    provider: asks a scheduler for blocks.
    each: workers on each node.
    period: seconds between two decisions on whether blocks are missing.
  """
  return parsl.Config([executor(provider, each)], strategy_period=period, max_idletime=30.0, usage_tracking=0)


class Cluster:
  """A pool of workers on a cluster; see `Pool` for its functions.

  Args:
    make: returns the config of Parsl, a new one at each call: its executor can be started only once, and a loop opens
      the pool in each round. Its `run_dir` is set.
    scheduler: name of the scheduler, see `cancel.COMMANDS`.
    script: returns the text of the request for a block of workers, from the provider and the command that starts the
      workers; None: a dry run shows none.
  """

  def __init__(
    self, make: Callable[[], parsl.Config], scheduler: str, script: Callable[[Any, str], str] | None = None
  ) -> None:
    self._make, self._scheduler, self._script = make, scheduler, script
    self._folder = Path()
    self._open: contextlib.ExitStack | None = None
    self._renew()
    self.width = self._provider.max_blocks * self._provider.nodes_per_block * self._executor.workers_per_node

  def _renew(self) -> parsl.Config:
    """Returns a new config, whose executor and provider are those of the pool from now on."""
    config = self._make()
    (self._executor,) = config.executors
    self._provider = self._executor.provider
    self._seen: dict[str, float] = {}  # block → when it was first seen to run without a worker
    self._jobs: list[str] = []
    return config

  def open(self, folder: Path) -> None:
    self._folder, config = folder, self._renew()
    config.run_dir = str(folder / 'parsl')
    os.environ['PATH'] = f'{PROGRAMS}{os.pathsep}{os.environ.get("PATH", "")}'
    self._open = contextlib.ExitStack()
    kernel = parsl.load(config)
    self._open.callback(parsl.clear)
    self._open.callback(kernel.cleanup)
    self._run = parsl.python_app(task.execute, data_flow_kernel=kernel)

  def submit(self, command: Sequence[str], log: Path) -> 'Future[int]':
    asked, future = self._run(list(command), str(log.absolute()), str(Path.cwd())), Future()

    def told(done: Future) -> None:
      if (error := done.exception()) is None:
        future.set_result(done.result())
      else:
        future.set_exception(_meant(error))

    asked.add_done_callback(told)
    return future

  def check(self) -> None:
    states = self._executor.status_facade
    jobs = [self._name(job) for job in self._executor.blocks_to_job_id.values()]
    if jobs != self._jobs:
      self._jobs = jobs
      formats.write_json(formats.RUN, self._folder / JOBS, {'scheduler': self._scheduler, 'jobs': jobs})
      log.info('%s jobs: %s', self._scheduler, ', '.join(jobs))
    if all(block in self._seen and self._seen[block] < 0 for block in states):
      return
    connected = self._executor.connected_blocks()
    for block, status in states.items():
      self._look(block, status, block in connected)

  def _name(self, job: str) -> str:
    """Returns the name by which the scheduler's commands know a job."""
    pod = self._provider.resources.get(job, {}).get('pod_name')
    return f'{self._provider.namespace}/{pod}' if pod else str(job)

  def _look(self, block: str, status: Any, connected: bool) -> None:
    """Shows what a block printed if it runs and none of its workers has connected for SILENT seconds."""
    if connected:
      self._seen[block] = -1.0
    if status.state is not JobState.RUNNING or self._seen.setdefault(block, time.monotonic()) < 0:
      return
    if time.monotonic() - self._seen[block] > SILENT:
      self._seen[block] = -1.0
      job = self._provider.resources.get(self._executor.blocks_to_job_id.get(block), {})
      printed = [_tail(job.get(f'job_{name}_path', '')) for name in ('stderr', 'stdout')]
      log.warning(
        'job %s has run for %.0f s, and none of its workers has connected. It printed:\n%s',
        self._executor.blocks_to_job_id.get(block),
        SILENT,
        '\n'.join(text for text in printed if text) or '(nothing)',
      )

  def close(self) -> None:
    if self._open is not None:
      self._open.close()
      self._open = None
      storage.remove(self._folder / JOBS)

  def text(self, commands: Sequence[Sequence[str]]) -> str:
    head = f'{len(commands)} commands, {min(self.width, len(commands))} at once, on at most'
    head += f' {self._provider.max_blocks} blocks of {self.width // self._provider.max_blocks} workers:'
    lines = [head, *(f'  {shlex.join(command)}' for command in commands)]
    if self._script is not None:
      start = f'process_worker_pool.py --max_workers_per_node={self._executor.workers_per_node} …'
      lines += ['', 'A block:', self._script(self._provider, start).rstrip()]
    return '\n'.join(lines)


def _meant(error: BaseException) -> BaseException:
  """Returns what an exception of Parsl means for the command that was asked for."""
  if isinstance(error, WorkerLost | ManagerLost):
    return Lost()
  if isinstance(error, ParslError):
    return UserError(f'--engine: the blocks fail: {" ".join(str(error).split())}')
  return error


def _tail(path: str, size: int = 2000) -> str:
  with contextlib.suppress(OSError):
    return Path(path).read_bytes()[-size:].decode(errors='replace').strip()
  return ''
