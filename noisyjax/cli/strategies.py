"""strategies: lists the methods."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  del values


def run(values: FlagValues) -> None:
  from noisyjax.config import strategy_list

  del values
  say(strategy_list.text())


COMMAND = Command(
  'strategies',
  '',
  'every method with its number of networks, what it must be told, its passes per image and its paper',
  declare,
  run,
)
