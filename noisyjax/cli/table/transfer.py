"""table export and table import: exchange labels with other programs."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError
from noisyjax.system.log import say

FORMATS = ('csv', 'parquet', 'imagefolder', 'hf', 'cleanlab')


def declare_export(values: FlagValues) -> None:
  shared.define_table(values)
  flags.DEFINE_enum('to', 'csv', FORMATS, 'Format to write.', flag_values=values)
  flags.DEFINE_string('out', '', 'New file; for imagefolder and hf, new folder.', flag_values=values)
  shared.define_images(values)


def export(values: FlagValues) -> None:
  from noisyjax.loop import transfer
  from noisyjax.tables import refs

  if not values.out:
    raise UserError('--out: missing; expected a new file, or a new folder for imagefolder and hf.')
  root = values.images or refs.facts(shared.place(values)[0])['source'].get('images', '')
  say(transfer.export(shared.version(values), values.to, Path(values.out), root))


def declare_import(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  flags.DEFINE_string('from', '', 'File or folder that export wrote and another program changed.', flag_values=values)
  flags.DEFINE_enum('of', 'csv', FORMATS, 'Format of --from.', flag_values=values)
  shared.define_message(values)
  shared.define_author(values)


def bring(values: FlagValues) -> None:
  from noisyjax.loop import transfer

  source = values['from'].value
  if not source:
    raise UserError('--from: missing; expected a file or folder that `table export` wrote.')
  message = values.message or f'from {Path(source).name}'
  made = transfer.bring(shared.opened(values), values.of, source, message, shared.author(values))
  say(shared.told(made.manifest))


EXPORT = Command(
  'table export',
  f'--table=DIR[@VERSION] --to={"|".join(FORMATS)} --out=PATH',
  'writes a version for other programs',
  declare_export,
  export,
)
IMPORT = Command(
  'table import',
  f'--table=DIR --of={"|".join(FORMATS)} --from=PATH',
  'makes a version from what another program changed',
  declare_import,
  bring,
)
