"""The command that engines start in new processes: it executes ordered runs, one after another."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from noisyjax.runs import launch, order, run, standing
from noisyjax.runs.engines.task import STARTER
from noisyjax.system import interrupt, lock
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

ORPHAN = 2.0  # seconds between two looks at whether the parent is alive
RELEASE = 600.0  # seconds for which an earlier process may hold a run: it stops after a step, which may be compiling


def work(folders: Sequence[Path]) -> None:
  """Executes the ordered runs in these folders. A run that fails does not end the others.

  Raises:
    Stopped: SIGTERM, or the process that started this one has died, after the run saved its state.
  """
  load = launch.remembering()
  with interrupt.watched(), _ended_with_parent():
    for i, folder in enumerate(folders):
      interrupt.check(f'{folder.parent}', f'after {i} of {len(folders)} runs.')
      if not standing.waits(folder):
        continue
      log.info('%d of %d: %s', i + 1, len(folders), folder.name)
      try:
        _execute(folder, load)
      except UserError as error:
        log.error('%s', error)
        standing.fail(folder, error)
      standing.settle(folder)


def _execute(folder: Path, load: run.Load) -> None:
  """Executes an ordered run; waits while an earlier process, which was asked to end, saves its state."""
  job, deadline = order.read(folder), time.monotonic() + RELEASE
  while True:
    try:
      launch.executed(job, load)
      return
    except lock.InUse:
      if time.monotonic() > deadline:
        raise
      interrupt.check(f'{folder}', 'before it began.')
      time.sleep(1)


@contextlib.contextmanager
def _ended_with_parent() -> Iterator[None]:
  """Within this block, the process gets a SIGTERM when its parent has died, so that no run goes on unseen."""
  # The parent may have died while this process imported JAX: then it has another parent already.
  parent, done = int(os.environ.get(STARTER, os.getppid())), threading.Event()

  def watch() -> None:
    while os.getppid() == parent:
      if done.wait(ORPHAN):
        return
    os.kill(os.getpid(), signal.SIGTERM)

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()
