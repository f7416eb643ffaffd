"""table branch: makes a branch that begins at a version."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  flags.DEFINE_string('name', '', 'Name of the new branch.', flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.tables import refs

  if not values['name'].value:
    raise UserError('--name: missing; expected the name of the new branch.')
  folder, ref = shared.place(values)
  refs.make_branch(folder, values['name'].value, ref or refs.LATEST)
  say(f'{folder}: {values["name"].value} begins at {refs.branches(folder)[values["name"].value][:12]}')


COMMAND = Command(
  'table branch', '--table=DIR[@VERSION] --name=B', 'makes a branch that begins at a version', declare, run
)
