"""A pool of processes on this machine, each with environment variables and cores of its own."""

import contextlib
import dataclasses
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from noisyjax.runs.engines import task
from noisyjax.runs.engines.pool import Lost, shell
from noisyjax.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Slot:
  """Room for one process.

  Attributes:
    environment: variables that name its devices.
    cores: numbers of the processor's cores on which it runs; () = all.
  """

  environment: dict[str, str] = dataclasses.field(default_factory=dict)
  cores: tuple[int, ...] = ()

  def command(self, command: Sequence[str]) -> list[str]:
    pinned = ['taskset', '-c', ','.join(map(str, self.cores))] if self.cores else []
    return [*pinned, *command]


class Processes:
  """A pool of processes; see `Pool` for its functions.

  Args:
    slots: one for each process that runs at once.
  """

  def __init__(self, slots: Sequence[Slot]) -> None:
    if not slots:
      raise UserError('--engine: found 0 processes at once; expected 1 or more.')
    self.slots, self.width = list(slots), len(slots)
    self._free: queue.SimpleQueue[Slot] = queue.SimpleQueue()
    self._threads: ThreadPoolExecutor | None = None
    self._running: set[subprocess.Popen] = set()
    self._closed, self._lock = False, threading.Lock()

  def open(self, folder: Path) -> None:
    self._closed, self._free = False, queue.SimpleQueue()
    for slot in self.slots:
      self._free.put(slot)
    self._threads = ThreadPoolExecutor(self.width)

  def submit(self, command: Sequence[str], log: Path) -> Future[int]:
    assert self._threads is not None, 'the pool is not open'
    return self._threads.submit(self._execute, command, log)

  def _execute(self, command: Sequence[str], log: Path) -> int:
    slot = self._free.get()
    try:
      with log.open('ab') as out:
        with self._lock:  # so that `close` sees every process that was started
          if self._closed:
            raise Lost
          process = subprocess.Popen(
            slot.command(command),
            env=os.environ | slot.environment | {task.STARTER: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the driver alone, which ends them
          )
          self._running.add(process)
        return process.wait()
    finally:
      self._free.put(slot)

  def check(self) -> None:
    pass

  def close(self) -> None:
    with self._lock:
      self._closed = True
    for process in self._running:
      if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
          process.send_signal(signal.SIGTERM)
    if self._threads is not None:
      self._threads.shutdown()
    self._running.clear()

  def text(self, commands: Sequence[Sequence[str]]) -> str:
    head = f'{len(commands)} processes on this machine, {min(self.width, len(commands))} at once:'
    placed = ((self.slots[i % self.width], command) for i, command in enumerate(commands))
    return '\n'.join([head, *(f'  {shell(slot.command(command), slot.environment)}' for slot, command in placed)])


def cores(count: int, each: int) -> list[Slot]:
  """Returns slots with `each` of this machine's cores, no core in two slots.

  Args:
    count: number of slots; 0 = as many as there are cores for.
    each: cores of a slot; 0 = the slots share all cores.

  Raises:
    UserError: the machine has too few cores.
  """
  available = sorted(os.sched_getaffinity(0))
  if not each:
    return [Slot() for _ in range(count or len(available))]
  count = count or max(1, len(available) // each)
  if count * each > len(available):
    raise UserError(
      f'--engine: at_once={count} and cores={each} need {count * each} cores; this process may use {len(available)}.'
    )
  return [Slot(cores=tuple(available[i * each : (i + 1) * each])) for i in range(count)]
