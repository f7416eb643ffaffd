"""train: runs one training."""

import sys
from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_dry_run, define_rerun, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the run.')
  define_rerun(values)
  define_dry_run(values)
  text = 'HOST:PORT of process 0, in a run of several processes. srun, Kubernetes and TPU slices tell it.'
  flags.DEFINE_string('coordinator', '', text, flag_values=values)
  text = 'Number of processes of the run; 0: as the environment says; 1: this one, whatever the environment says.'
  flags.DEFINE_integer('processes', 0, text, lower_bound=0, flag_values=values)
  flags.DEFINE_integer('process', -1, 'Number of this process, from 0.', lower_bound=-1, flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.reports import report
  from noisyjax.runs import dry_run, run
  from noisyjax.system import processes

  if values.dry_run:
    say(dry_run.text(needed(values, 'config'), timed=values.dry_run == 'timed'))
    return
  config, workdir = needed(values, 'config'), needed(values, 'workdir')
  processes.join(values.coordinator, values.processes, values.process)
  with processes.ending_together():
    result = run.run(config, workdir, sys.argv, rerun=values.rerun)
    say(report.table([result], ('strategy', 'model')), end='')
    say(f'{Path(workdir) / "report.html"}')


COMMAND = Command(
  'train',
  '--config=F [--config.field=value …] --workdir=W',
  'one run; a finished run is kept, an interrupted one continues',
  declare,
  run,
  resumes=True,
)
