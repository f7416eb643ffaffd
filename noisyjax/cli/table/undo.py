"""table undo: takes back decisions that are not committed."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  text = "Hash of an entry of the journal, or its beginning; default: the author's last decisions."
  flags.DEFINE_string('entry', '', text, flag_values=values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  table = shared.opened(values)
  entry = table.undo(shared.author(values), values.entry)
  of, redo, waiting = entry['of'][:12], entry['hash'][:12], len(table.pending())
  say(f'took back {of}; decisions that wait: {waiting:,}; --entry={redo} redoes it')


COMMAND = Command(
  'table undo', '--table=DIR [--entry=HASH]', 'takes back decisions that are not committed', declare, run
)
