"""kfold: runs a cross-validation."""

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
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the folds.')
  flags.DEFINE_integer('folds', 5, 'Number of folds.', flag_values=values)
  define_engine(values)
  define_replicas(values)
  define_dry_run(values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.experiments import kfold
  from noisyjax.runs.engines import engine, estimate

  place = engine.load(values.engine, values.replicas)
  config, workdir = needed(values, 'config'), needed(values, 'workdir')
  if values.dry_run:
    say(estimate.text(place, estimate.of_folds(config, values.folds, workdir), timed=values.dry_run == 'timed'))
    return
  say(kfold.kfold(config, values.folds, workdir, values.rerun, place)[1], end='')


COMMAND = Command(
  'kfold',
  '--config=F --workdir=W --folds=5 [--engine=E | --replicas=K]',
  'cross-validation on the training rows',
  declare,
  run,
  resumes=True,
)
