"""table merge: makes a version of a branch that takes in another branch."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  flags.DEFINE_string('from', '', 'Branch that is taken in.', flag_values=values)
  text = 'ours or theirs: whose label a row gets that both branches changed, differently.'
  flags.DEFINE_string('prefer', '', text, flag_values=values)
  shared.define_message(values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  other = values['from'].value
  if not other:
    raise UserError('--from: missing; expected a branch of this table.')
  message = values.message or f'merges {other}'
  made = shared.opened(values).merge(other, message, shared.author(values), values.prefer)
  say(shared.told(made.manifest))


COMMAND = Command(
  'table merge', '--table=DIR [--branch=main] --from=BRANCH', 'takes another branch into a branch', declare, run
)
