"""sweep: runs every point of a grid or of a sweep file."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import (
  Command,
  define_config,
  define_dry_run,
  define_engine,
  define_replicas,
  define_rerun,
  define_workdir,
  needed,
)
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the sweep.')
  text = 'An axis of the grid, field=value,value,…; several axes form their product.'
  flags.DEFINE_multi_string('grid', [], text, flag_values=values)
  text = 'A file with a function sweep() that yields dicts field → value, or the name of a shipped file.'
  flags.DEFINE_string('sweep', '', text, flag_values=values)
  define_engine(values)
  define_replicas(values)
  define_dry_run(values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.experiments import grid, sweep
  from noisyjax.runs.engines import engine, estimate

  if bool(values.grid) == bool(values.sweep):
    raise UserError('sweep: expected either --grid=field=value,value,… or --sweep=FILE.')
  points = grid.generated(values.sweep) if values.sweep else list(grid.grid(values.grid))
  place = engine.load(values.engine, values.replicas)
  config, workdir = needed(values, 'config'), needed(values, 'workdir')
  if values.dry_run:
    say(estimate.text(place, sweep.jobs(config, points, workdir, values.rerun), timed=values.dry_run == 'timed'))
    return
  say(sweep.sweep(config, points, workdir, values.rerun, place)[1], end='')
  say_files(Path(values.workdir))


def say_files(folder: Path) -> None:
  """Prints the paths of the tables and pictures of a folder of runs."""
  from noisyjax.reports import collection

  names = ['table.md', *collection.files(), *collection.files(collection.PRETRAINED)]
  say(*(folder / name for name in names if (folder / name).exists()))


COMMAND = Command(
  'sweep',
  '--config=F --workdir=W --grid=field=a,b … | --sweep=configs/sweeps/F.py [--engine=E | --replicas=K]',
  'one run for each point, and one table',
  declare,
  run,
  resumes=True,
)
