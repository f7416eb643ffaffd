"""cancel: ends the runs in a folder."""

from pathlib import Path

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folder of a run, a sweep, a cross-validation or a loop.')


def run(values: FlagValues) -> None:
  from noisyjax.runs import cancel

  say(cancel.cancel(Path(needed(values, 'workdir'))))


COMMAND = Command(
  'cancel',
  '--workdir=W',
  'ends the runs of a folder; the same command goes on',
  declare,
  run,
  compiles=False,
)
