"""work: executes runs that another command ordered; engines start it in new processes."""

from pathlib import Path

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, folders, needed


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folders of the runs, separated by commas.')


def run(values: FlagValues) -> None:
  from noisyjax.runs import work

  work.work([Path(folder) for folder in folders(needed(values, 'workdir'))])


COMMAND = Command(
  'work', '--workdir=W1,W2,…', 'executes runs that a sweep with --engine ordered', declare, run, resumes=True
)
