"""report: writes the reports of finished runs again."""

import contextlib
import os
from pathlib import Path

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_workdir, folders, needed
from noisyjax.cli.sweep import say_files
from noisyjax.system.log import log, say


def declare(values: FlagValues) -> None:
  define_workdir(values, 'Folder of a run or sweep, or several separated by commas.')


def run(values: FlagValues) -> None:
  from noisyjax.experiments import rebuild
  from noisyjax.reports import collection, report
  from noisyjax.system import lock

  workdirs = folders(needed(values, 'workdir'))
  with contextlib.ExitStack() as stack:
    for folder in dict.fromkeys(workdirs):
      runs = [] if (Path(folder) / 'result.json').exists() else collection.finished(folder)
      if Path(folder).exists() and not os.access(folder, os.W_OK):
        log.warning('%s: is read-only; its report is not written again.', folder)
        continue
      stack.enter_context(lock.held(folder, *runs, make=False))
      for run in runs or [folder]:
        say(report.write_report(run))
      if runs:
        say(rebuild.rebuild(folder), end='')
        say_files(Path(folder))
  if all((Path(folder) / 'result.json').exists() for folder in workdirs):
    say(report.compare(workdirs), end='')


COMMAND = Command(
  'report',
  '--workdir=W1,W2,…',
  'writes report.html of each finished run, or of all runs of a sweep, and one table of them',
  declare,
  run,
)
