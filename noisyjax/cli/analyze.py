"""analyze: what a finished run says of each of its rows."""

from pathlib import Path

from absl import flags
from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_rerun, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folder of a finished run.')
  text = 'Folds of out-of-fold probabilities and label-issue scores; each trains the recipe of the run; 0 = none.'
  flags.DEFINE_integer('folds', 0, text, flag_values=values)
  text = "Map in two dimensions beside that by PCA: pacmap or localmap (needs pip install 'noisyjax[map]')."
  flags.DEFINE_string('map', '', text, flag_values=values)
  text = 'Table of an earlier analysis (.parquet) on whose map the points begin, so that they stay about there.'
  flags.DEFINE_string('map_start', '', text, flag_values=values)
  define_rerun(values)


def run(values: FlagValues) -> None:
  from noisyjax.analysis import analyze

  settings = analyze.Settings(values.folds, values.map, values.map_start)
  path = analyze.analyze(Path(needed(values, 'workdir')), settings, rerun=values.rerun)
  found = analyze.summary(path)
  say(', '.join(f'{count:,} {kind}' for kind, count in found['rows'].items()))
  copies = found['duplicates']
  say(
    f'groups of near duplicates: {copies["groups"]:,}, of {copies["rows"]:,} rows; {copies["conflicting"]:,} with '
    f'different labels, {copies["across_splits"]:,} across training and validation'
  )
  if noise := found['noise']:
    say(f'noise rate: about {noise["rate"]:.1%} of {noise["labeled"]:,} labels. {noise["bias"]}')
    if better := noise['corrected']:
      low, high = better['interval']
      say(f'corrected by {better["verified"]:,} verified rows: {better["rate"]:.1%} ({low:.1%} to {high:.1%})')
  say(path)


COMMAND = Command(
  'analyze',
  '--workdir=RUN [--folds=5] [--map=pacmap]',
  'a table of losses, neighbours, duplicates and more, one row an image',
  declare,
  run,
)
