"""Orders: runs that wait in their folders for a process to execute them."""

import json
from pathlib import Path

from noisyjax.config.check import plan_of
from noisyjax.config.resolved import difference, restored
from noisyjax.runs import identity
from noisyjax.runs.fold import ABOUT, Fold
from noisyjax.runs.job import Job
from noisyjax.runs.standing import ORDER
from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError


def write(job: Job) -> None:
  """Orders a run."""
  storage.make_folder(job.workdir)
  values = {'config': identity.plain(job.plan), 'rerun': job.rerun, 'page': job.page}
  formats.write_json(formats.RUN, job.workdir / ORDER, values)


def read(folder: Path) -> Job:
  """Returns the ordered run or fold.

  Raises:
    UserError: there is no order, a plug-in has changed, or JSON cannot hold a value of the config.
  """
  values = formats.read_json(formats.RUN, folder / ORDER)
  plan = plan_of(restored(values['config'], folder / ORDER))
  here = json.loads(storage.json_text(identity.plain(plan)))
  if lines := difference(values['config'], here):
    raise UserError(f'{folder / ORDER}: the config here is not the one that was ordered: {"; ".join(lines)}.')
  kind = Fold if (folder / ABOUT).exists() else Job
  return kind(plan, folder, values['rerun'], values['page'])
