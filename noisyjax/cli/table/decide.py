"""table decide: records the decisions of a file, all of them or none."""

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command
from noisyjax.cli.table import shared
from noisyjax.system.commands import command
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  text = 'CSV with the columns id or file, action (label, unlabel, hold, drop, restore, keep, weight, curate), '
  flags.DEFINE_string('from', '', text + 'label, author, reason, weight.', flag_values=values)
  shared.define_author(values)


def run(values: FlagValues) -> None:
  from noisyjax.loop import decisions_file

  if not values['from'].value:
    raise UserError('--from: missing; expected a file of decisions such as decisions.csv.')
  table = shared.opened(values)
  default = shared.author(values, tell=False)
  found = decisions_file.read(values['from'].value, table, default)
  if default in found.by or any(who == default for who, _ in found.rejected):
    shared.author(values)
  for author, decisions in found.by.items():
    entry = found.entries.get(author, {})
    table.decide(author, decisions, **(entry and {**entry, 'decided': len(decisions)}))
    say(f'{author}: decisions recorded: {len(decisions):,}')
  for (who, rule), (decisions, said) in found.rejected.items():
    table.decide(who, decisions, proposal={'rule': rule, 'said': said})
    say(f'{who}: proposals of {rule} rejected: {len(decisions):,}')
  if found.open:
    say(f'rows without a decision, passed over: {found.open:,}')
  say(f'decisions that are not committed: {len(table.pending()):,}; to make a version of them:')
  say(command('table commit', *table.flags, '--message=WHY'))


COMMAND = Command('table decide', '--table=DIR --from=decisions.csv', 'records decisions from a file', declare, run)
