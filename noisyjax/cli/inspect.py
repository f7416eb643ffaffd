"""inspect: describes the data before training."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the report and the pictures.')


def run(values: FlagValues) -> None:
  from noisyjax.reports import inspect

  say(inspect.inspect_config(needed(values, 'config'), needed(values, 'workdir')))


COMMAND = Command(
  'inspect', '--config=F --workdir=W', 'describes the data as text and pictures, before training', declare, run
)
