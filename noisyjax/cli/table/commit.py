"""table commit: makes a version from the decisions that are not committed."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  shared.define_message(values)
  text = 'Author whose decision counts if two authors disagree on a row.'
  flags.DEFINE_string('prefer', '', text, flag_values=values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  if not values.message:
    raise UserError('--message: missing; expected the reason for the change of the labels.')
  prefer = values.prefer if ':' in values.prefer or not values.prefer else f'person:{values.prefer}'
  table = shared.opened(values)
  say(shared.told(table.commit(values.message, shared.author(values), prefer).manifest))
  say(f'to train on it, add --config.data.table={table.folder}@{table.version.name[:12]} to the command of a run')


COMMAND = Command('table commit', '--table=DIR --message=WHY', 'makes a version from the decisions', declare, run)
