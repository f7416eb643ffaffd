"""kfold: runs a cross-validation."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_rerun, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the folds.')
  flags.DEFINE_integer('folds', 5, 'Number of folds.', flag_values=values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.experiments import kfold

  say(kfold.kfold(needed(values, 'config'), values.folds, needed(values, 'workdir'), values.rerun)[1], end='')


COMMAND = Command(
  'kfold', '--config=F --workdir=W --folds=5', 'cross-validation on the training rows', declare, run, resumes=True
)
