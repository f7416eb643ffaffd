"""table show: shows a version, or all that is known about one row."""

import json

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  flags.DEFINE_string(
    'row', '', 'Id or name of a row; shows all versions that changed it, and why.', flag_values=values
  )


def run(values: FlagValues) -> None:
  from noisyjax.tables import history

  version = shared.version(values)
  if values.row:
    say(*history.of_row(shared.place(values)[0], version, values.row))
    return
  say(json.dumps(version.manifest, indent=2, ensure_ascii=False))
  say(*history.by_class(version))


COMMAND = Command('table show', '--table=DIR[@VERSION] [--row=NAME]', 'shows a version, or one row', declare, run)
