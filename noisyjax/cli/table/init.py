"""table init: makes the first version of a label table."""

from absl import flags
from absl.flags import FlagValues
from ml_collections import ConfigDict

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
  from noisyjax.tables import rows

  config = config_of(values)
  folder = shared.folder(values)
  made = first_version.of_config(config, folder, shared.author(values))
  counts = ', '.join(f'{count:,} {word}' for word, count in made.version.manifest['status'].items() if count)
  say(f'{folder}: {len(made.rows):,} rows, {counts}; classes {", ".join(map(one_line, made.classes))}')
  if values.images and (made.rows.split == rows.TRAIN).all():
    say('all rows train: runs on this table have no validation accuracy; --config=RECIPE divides them as a recipe does')
  say(shared.told(made.version.manifest))


def config_of(values: FlagValues) -> ConfigDict:
  """Returns the recipe of --config, or one of the files that --images and --labels name."""
  from noisyjax.loop import first_version

  if bool(values.images) == bool(values.config):
    raise UserError('table: expected either --images=FOLDER [--labels=CSV] or --config=F.')
  if values.config:
    return values.config
  fields = ('skip_bad', 'image_column', 'label_column')
  return first_version.files_config(
    values.images, values.labels, {f'data.{field}': values[field].value for field in fields}
  )


COMMAND = Command(
  'table init',
  '--table=DIR --images=FOLDER|ZIP [--labels=CSV] | --config=F',
  'makes a label table from the labels of a source',
  declare,
  run,
)
