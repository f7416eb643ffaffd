"""table curate: draws a stratified sample of rows, which a person labels for validation."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, needed
from noisyjax.cli.table import shared
from noisyjax.system.commands import command
from noisyjax.system.errors import one_line
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  flags.DEFINE_integer('n', 100, 'Number of rows to draw.', flag_values=values)
  flags.DEFINE_integer('seed', 0, 'Seed of the draw.', 0, flag_values=values)
  shared.define_images(values)
  define_workdir(values, 'Folder for curate.csv and curate.png.')


def run(values: FlagValues) -> None:
  from noisyjax.loop import proposals

  folder, table = Path(needed(values, 'workdir')), shared.opened(values)
  count = proposals.curate(table, values.n, folder, seed=values.seed, root=values.images)
  say(
    f'{folder / "curate.csv"}: {count:,} rows; fill in their labels ({", ".join(map(one_line, table.classes))}), then'
  )
  say(command('table decide', *table.flags, f'--from={folder / "curate.csv"}'))


COMMAND = Command('table curate', '--table=DIR --n=100 --workdir=W', 'draws rows to label for validation', declare, run)
