"""table verify: checks that every version matches its name, that edits replay, and that the journal is complete."""

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


COMMAND = Command('table verify', '--table=DIR', 'checks the table for damage and changes', declare, run)
