"""loop: train, analyze, propose, decide, commit, retrain and compare, round by round."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_dry_run, define_engine, define_workdir, needed
from noisyjax.system.errors import UserError
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the loop.')
  text = 'Runs so many independent loops, in subfolders loop=0, loop=1, …: with other seeds and draws of the data.'
  flags.DEFINE_integer('loops', 1, text, flag_values=values)
  text = 'Takes none of the proposals that wait for a person, and ends the rounds.'
  flags.DEFINE_bool('reject', False, text, flag_values=values)
  text = 'Folder of another loop that ended, whose table the report shows beside.'
  flags.DEFINE_string('beside', '', text, flag_values=values)
  define_dry_run(values)
  define_engine(values)


def run(values: FlagValues) -> None:
  from noisyjax.loop import dry_run, loop, several
  from noisyjax.loop.round import Waits
  from noisyjax.runs.engines import engine

  place, config, workdir = engine.load(values.engine), needed(values, 'config'), values.workdir
  if values.loops < 1:
    raise UserError(f'--loops: found {values.loops}; expected 1 or more.')
  if values.dry_run:
    say(dry_run.text(config, workdir or 'W', values.loops, timed=values.dry_run == 'timed', engine=place))
    return
  needed(values, 'workdir')
  if values.loops > 1 and (values.reject or values.beside):
    raise UserError(
      '--loops: --reject and --beside are of one loop; expected its folder as --workdir, without --loops.'
    )
  try:
    if values.loops > 1:
      say(several.several(config, workdir, values.loops, place), end='')
      return
    say(loop.loop(config, workdir, values.reject, values.beside, place).table, end='')
    say(f'{Path(workdir) / "report.html"}')
  except Waits as wait:
    say(f'{wait}')


COMMAND = Command(
  'loop',
  '--config=configs/loop/F.py --workdir=W [--engine=E]',
  'rounds of training, labels that rules or people fix, and comparison',
  declare,
  run,
  resumes=True,
)
