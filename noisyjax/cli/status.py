"""status: the states of the runs in a folder."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folder of a run, a sweep, a cross-validation or a loop.')
  flags.DEFINE_bool('watch', False, 'Looks again every few seconds, until nothing runs.', flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.runs import status

  folder = Path(needed(values, 'workdir'))
  if not values.watch:
    say(status.text(folder))
    return
  for text in status.watched(folder):
    say(text, '')


COMMAND = Command(
  'status',
  '--workdir=W [--watch]',
  'finished, running (epoch, time left), waiting and failed runs of a folder',
  declare,
  run,
  compiles=False,
)
