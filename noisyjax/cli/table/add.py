"""table add: makes a version with the images that the data set of a table has gained."""

from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import init, shared
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  init.declare(values)
  shared.define_branch(values)
  shared.define_message(values)


def run(values: FlagValues) -> None:
  from noisyjax.loop import first_version

  config, table = init.config_of(values), shared.opened(values)
  message = values.message or 'new images joined'
  say(shared.told(first_version.joined(table, config, shared.author(values), message).manifest))


COMMAND = Command(
  'table add',
  '--table=DIR --images=FOLDER|ZIP [--labels=CSV] | --config=F',
  'adds the images that the data set has gained',
  declare,
  run,
)
