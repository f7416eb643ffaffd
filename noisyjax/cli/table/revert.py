"""table revert: makes a new version with the rows of an older one; no version is lost."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  flags.DEFINE_string('version', '', 'Version to go back to.', flag_values=values)
  shared.define_message(values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  from noisyjax.tables import refs, versions

  if not values['version'].value:
    raise UserError('--version: missing; expected a version that `table log` lists.')
  table = shared.opened(values)
  old = versions.read(table.folder, refs.resolve(table.folder, values['version'].value))
  message = values.message or f'back to {old.name[: versions.SHORT]}'
  say(shared.told(table.replace(old.rows, 'revert', message, shared.author(values), reverted_to=old.name).manifest))


COMMAND = Command('table revert', '--table=DIR --version=VERSION', 'goes back to the rows of a version', declare, run)
