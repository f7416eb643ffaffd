"""table propose: writes the labels that `find` flags as a CSV of decisions and a contact sheet."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, needed
from noisyjax.cli.table import shared
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  flags.DEFINE_string(
    'issues', 'label_issues', 'issues.csv of find, or the folder that contains it.', flag_values=values
  )
  flags.DEFINE_enum('action', 'label', ['label', 'unlabel'], 'Action to propose for flagged rows.', flag_values=values)
  flags.DEFINE_float('min_score', 0.0, 'Minimum score of a proposal.', flag_values=values)
  flags.DEFINE_integer('n', 0, 'Maximum number of proposals; 0 = all.', 0, flag_values=values)
  shared.define_images(values)
  define_workdir(values, 'Folder for proposals.csv and proposals.png.')


def run(values: FlagValues) -> None:
  from noisyjax.loop import proposals

  folder, table = Path(needed(values, 'workdir')), shared.opened(values)
  count = proposals.of_issues(
    table,
    values.issues,
    folder,
    action=values.action,
    least=values.min_score,
    most=values.n,
    root=values.images,
  )
  say(f'{folder / "proposals.csv"}: {count:,} proposals; strike out what is wrong, then')
  say(f'table decide --table={table.folder} --from={folder / "proposals.csv"}')


COMMAND = Command(
  'table propose',
  '--table=DIR --issues=CSV --workdir=W',
  'writes the labels that find flags, for decision',
  declare,
  run,
)
