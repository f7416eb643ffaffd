"""Orders: runs that wait in their folders for a process to execute them, and the failures of those that ended badly.

W/order.json    the run is wanted: its config, and how to run it; removed when the run has finished or failed
W/failed.json   the run failed: why; removed when it starts again
"""

import json
from pathlib import Path
from typing import NamedTuple

from noisyjax.config.check import plan_of
from noisyjax.config.resolved import difference, restored
from noisyjax.runs import identity
from noisyjax.runs.job import Job
from noisyjax.system import formats, storage
from noisyjax.system.errors import Diverged, UserError

ORDER, FAILED = 'order.json', 'failed.json'


def write(job: Job) -> None:
  """Orders a run."""
  storage.make_folder(job.workdir)
  values = {'config': identity.plain(job.plan), 'rerun': job.rerun, 'page': job.page}
  formats.write_json(formats.RUN, job.workdir / ORDER, values)


def waits(folder: Path) -> bool:
  """Returns whether the run in a folder is ordered, and neither finished nor failed."""
  return (folder / ORDER).exists()


def read(folder: Path) -> Job:
  """Returns the ordered run.

  Raises:
    UserError: there is no order, a plug-in has changed, or JSON cannot hold a value of the config.
  """
  values = formats.read_json(formats.RUN, folder / ORDER)
  plan = plan_of(restored(values['config']))
  here = json.loads(storage.json_text(identity.plain(plan)))
  if lines := difference(values['config'], here):
    raise UserError(f'{folder / ORDER}: the config here is not the one that was ordered: {"; ".join(lines)}.')
  return Job(plan, folder, values['rerun'], values['page'])


def settle(folder: Path) -> None:
  """Removes the order of a run that has finished or failed."""
  storage.remove(folder / ORDER)


class Failure(NamedTuple):
  """Why a run failed.

  Attributes:
    diverged: whether a loss or a parameter became NaN or infinite.
    message: what it said, or the last lines of its log.
  """

  diverged: bool
  message: str

  def error(self) -> UserError:
    return (Diverged if self.diverged else UserError)(self.message)


def fail(folder: Path, error: UserError) -> None:
  """Records that the run in a folder failed."""
  storage.make_folder(folder)
  storage.write_json(folder / FAILED, Failure(isinstance(error, Diverged), str(error))._asdict())


def failure(folder: Path) -> Failure | None:
  """Returns why the run in a folder failed; None if it did not."""
  path = folder / FAILED
  return Failure(**storage.read_json(path)) if path.exists() else None


def forget_failure(folder: Path) -> None:
  storage.remove(folder / FAILED)
