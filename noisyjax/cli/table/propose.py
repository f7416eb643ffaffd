"""table propose: writes what a rule would do, or what `find` flags, as a CSV of decisions and a contact sheet."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, needed
from noisyjax.cli.table import shared
from noisyjax.system import reading
from noisyjax.system.commands import command
from noisyjax.system.errors import UserError
from noisyjax.system.log import say
from noisyjax.tables import store


def declare(values: FlagValues) -> None:
  shared.define_table(values)
  shared.define_branch(values)
  text = 'Rule with its parameters, NAME:param=value,param=value; NAME may be the path of a file.'
  flags.DEFINE_string('rule', '', text, flag_values=values)
  text = 'For --rule: evidence.parquet of a round of a loop, or RUN/analysis/last.parquet (or best.parquet) of analyze.'
  flags.DEFINE_string('analysis', '', text, flag_values=values)
  text = 'For --rule: labels that its precision is estimated on; verified ones, or given ones too.'
  flags.DEFINE_enum('frozen', 'verified', ['verified', 'given'], text, flag_values=values)
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
  if values.rule:
    count = _of_rule(values, table, folder)
  else:
    count = proposals.of_issues(
      table,
      values.issues,
      folder,
      action=values.action,
      least=values.min_score,
      most=values.n,
      root=values.images,
    )
  say(f'{folder / "proposals.csv"}: {count:,} proposals' + ('; delete the rows that are wrong, then' if count else ''))
  if count:
    say(command('table decide', *table.flags, f'--from={folder / "proposals.csv"}'))
    say(f'or on a page: {command("review", *table.flags, f"--workdir={folder}")}')


def _of_rule(values: FlagValues, table: store.Table, folder: Path) -> int:
  from noisyjax.loop import rule_proposals
  from noisyjax.rules import apply, evidence, of_analysis, rule

  for flag, parameter in (('n', 'total'), ('min_score', 'threshold')):
    if values[flag].value:
      raise UserError(f'--{flag}: is not taken with --rule; expected its parameter: --rule={values.rule}:{parameter}=…')
  if not values.analysis:
    raise UserError(
      '--analysis: missing; a rule expects RUN/analysis/last.parquet of analyze, or evidence.parquet of a loop.'
    )
  asked = rule.parsed(values.rule)
  file = reading.file_of(values.analysis, '--analysis')
  if file.with_suffix('.json').exists():  # an analysis, whose summary is written last
    found = of_analysis.read(file, table.version, asked.in_sample)
  else:
    found = evidence.read(file, table.rows)
  truth = rule_proposals.frozen(table.rows, values.frozen == 'given')
  outcome = rule_proposals.propose(table, asked, found, truth, folder, values.images)
  say(*apply.told(outcome))
  judged = asked.met(table.rows, truth[:0]) is not None  # whether labels can say that the rule is right
  if judged and not ((truth >= 0) & found.known).any():
    say(
      'to estimate it: use an analysis made with --folds=5, which also predicts rows that the run trained on, or '
      '--frozen=given, which also counts labels that people gave'
    )
  return len(outcome.proposed)


COMMAND = Command(
  'table propose',
  '--table=DIR (--rule=NAME:param=value --analysis=FILE | --issues=CSV) --workdir=W',
  'writes what a rule would do, or the labels that find flags, for decision',
  declare,
  run,
)
