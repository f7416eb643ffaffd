"""table diff: shows the differences between two versions, by action and class pair, and by row with reasons."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.log import say

SHOWN = 20  # maximum number of rows on the screen; --out writes all


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  text = 'The older version; default: the parent.'
  flags.DEFINE_string('since', '', text, flag_values=values)
  flags.DEFINE_string('out', '', 'CSV file for all rows that differ.', flag_values=values)


def run(values: FlagValues) -> None:
  from noisyjax.system import storage
  from noisyjax.system.errors import UserError
  from noisyjax.tables import compare, refs, store, versions

  folder, new = shared.place(values)[0], shared.version(values)
  since = values.since or next(iter(new.manifest['parents']), '')
  if not since:
    waiting = len(store.Table(folder).pending())
    raise UserError(
      f'{folder}: the first version has no parent; expected --since=VERSION, or a later version.'
      + (f' {waiting:,} decisions are not committed: table commit makes a version of them.' if waiting else '')
    )
  old = versions.read(folder, refs.resolve(folder, since))
  found = compare.diff(old, new)
  rows = list(compare.told(found, old, new))
  say(f'{old.name[: versions.SHORT]} > {new.name[: versions.SHORT]}: {len(rows):,} rows differ')
  for change in found.counts:
    say(f'  {change["action"]} {change["from"]} > {change["to"]}: {change["rows"]:,}')
  for row in rows[:SHOWN]:
    why = f'{row["by"]}: {row["reason"] or "no reason given"}' + (f' ({row["evidence"]})' if row['evidence'] else '')
    say(f'{row["name"]}: {row["action"]} {row["from"]} > {row["to"]}, {why}')
  if values.out:
    header = ['name', 'id', 'action', 'from', 'to', 'by', 'reason', 'evidence', 'version']
    storage.write_text(values.out, storage.csv_text([header, *([row[name] for name in header] for row in rows)]))
    say(values.out)
  elif len(rows) > SHOWN:
    say(f'and {len(rows) - SHOWN:,} more: --out=diff.csv writes all')


COMMAND = Command('table diff', '--table=DIR[@VERSION] [--since=VERSION]', 'shows what changed, and why', declare, run)
