"""review: a page on this machine, on which a person sees the rows of a label table and decides."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, folders
from noisyjax.cli.table import shared


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  define_workdir(values, 'Runs that are evidence, and folders of proposals, separated by commas.')
  shared.define_images(values)
  shared.define_author(values)
  flags.DEFINE_integer('port', 0, 'Port on 127.0.0.1; 0 = a free one.', 0, 65535, flag_values=values)
  text = 'Draws so many rows, which a person labels without any evidence; they validate from the next version on.'
  flags.DEFINE_integer('curate', 0, text, 0, flag_values=values)
  flags.DEFINE_bool('read_only', False, 'Refuses decisions.', flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.review import serve

  serve.serve(
    shared.folder(values),
    shared.author(values),
    [Path(folder) for folder in folders(values.workdir or '')],
    branch=values.branch,
    images=values.images,
    port=values.port,
    read_only=values.read_only,
    curated=values.curate,
  )


COMMAND = Command(
  'review', '--table=DIR [--workdir=RUN,…]', 'opens a page on which a person decides', declare, run, compiles=False
)
