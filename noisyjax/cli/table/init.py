"""table init: makes the first version of a label table."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_image_files
from noisyjax.cli.table import shared
from noisyjax.system.errors import UserError, one_line
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  define_image_files(values)
  flags.DEFINE_string('labels', '', "Label file; '' = the class folders are the labels.", flag_values=values)
  define_config(values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  from noisyjax.loop import first_version

  if bool(values.images) == bool(values.config):
    raise UserError('table init: expected either --images=FOLDER [--labels=CSV] or --config=F.')
  folder, author = shared.folder(values), shared.author(values)
  if values.config:
    made = first_version.of_config(values.config, folder, author)
  else:
    fields = {
      'data.skip_bad': values.skip_bad,
      'data.image_column': values.image_column,
      'data.label_column': values.label_column,
    }
    made = first_version.of_files(values.images, values.labels, folder, author, fields)
  counts = ', '.join(f'{count:,} {word}' for word, count in made.version.manifest['status'].items() if count)
  say(f'{folder}: {len(made.rows):,} rows, {counts}; classes {", ".join(map(one_line, made.classes))}')
  say(shared.told(made.version.manifest))


COMMAND = Command(
  'table init',
  '--table=DIR --images=FOLDER|ZIP [--labels=CSV] | --config=F',
  'makes a label table from the labels of a source',
  declare,
  run,
)
