"""train: runs one training."""

import sys
from pathlib import Path

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_dry_run, define_rerun, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the run.')
  define_rerun(values)
  define_dry_run(values)


def run(values: FlagValues) -> None:
  from noisyjax.reports import report
  from noisyjax.runs import dry_run, run

  if values.dry_run:
    say(dry_run.text(needed(values, 'config'), timed=values.dry_run == 'timed'))
    return
  result = run.run(needed(values, 'config'), needed(values, 'workdir'), sys.argv, rerun=values.rerun)
  say(report.table([result], ('strategy', 'model')), end='')
  say(f'{Path(values.workdir) / "report.html"}')


COMMAND = Command(
  'train',
  '--config=F [--config.field=value …] --workdir=W',
  'one run; a finished run is kept, an interrupted one continues',
  declare,
  run,
  resumes=True,
)
