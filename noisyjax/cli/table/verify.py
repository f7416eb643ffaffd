"""table verify: whether every version is what its name says, edits replay, and the journal is whole."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)


def run(values: FlagValues) -> None:
  from noisyjax.tables import verify

  for line in verify.verify(shared.folder(values)):
    say(line)


COMMAND = Command('table verify', '--table=DIR', 'names what was damaged or changed', declare, run)
