"""The plan of a loop as text: that of one of its runs, and how many runs and how much time the loop takes at most."""

from pathlib import Path

from ml_collections import ConfigDict

from noisyjax.config.check import plan_of
from noisyjax.loop import round as round_, settings as settings_
from noisyjax.loop.settings import Settings
from noisyjax.runs import dry_run
from noisyjax.runs.job import Job
from noisyjax.runs.launch import Engine, Here
from noisyjax.system import progress


def text(config: ConfigDict, workdir: str, loops: int = 1, timed: bool = False, engine: Engine | None = None) -> str:
  """Returns the plan, and what an engine would start in the first round; raises UserError as `dry_run.estimated` does.

  All runs of a loop have the same steps; a control has the passes of all rounds and of one run more.

  Args:
    config: config with a block `loop`.
    workdir: folder of the loop.
    loops: number of independent loops.
    timed: whether to measure the time of a step.
    engine: executes the runs; None = in this process.
  """
  recipe, settings = settings_.parted(config)
  one = dry_run.estimated(recipe, timed)
  rounds, ends = _rounds(settings), _ends(settings, bool(recipe.data.test))
  controls = settings.final * len(settings.controls) * bool(recipe.data.test)
  each = rounds + ends + controls * (rounds + 1)
  what = 'the loop' if loops == 1 else f'{loops} loops'
  lines = [
    one.text,
    '',
    f'This is one run. A loop of {settings.rounds} rounds after the first has, at most:',
    f'  {rounds:,} runs in its rounds ({max(1, settings.folds)} folds, seeds: {settings.seeds})',
    f'  {ends:,} runs on versions at its end, and {controls:,} controls as long as {rounds + 1:,} runs',
    f'time: about {progress.duration(loops * each * one.seconds)} for {what}, compilation and analysis apart',
  ]
  if engine is not None and not isinstance(engine, Here):
    plan, folder = plan_of(recipe), Path(workdir) / ('' if loops == 1 else 'loop=0') / 'round=0'
    jobs = [Job(plan, folder / name) for _, _, name in round_.members(settings)]
    lines += ['', 'The first round:', engine.text(jobs)]
  return '\n'.join(lines)


def _rounds(settings: Settings) -> int:
  """Returns the number of runs of all rounds."""
  return (settings.rounds + 1) * max(1, settings.folds) * settings.seeds


def _ends(settings: Settings, test: bool) -> int:
  """Returns the number of final runs without the controls; without test rows, only those on the chosen version."""
  versions = 2 if settings.scored == 'ends' else settings.rounds + 1
  return settings.final * (versions + len(settings.axes) if test else 1)
