"""inspect: the data, before anything is trained."""

from pathlib import Path

from absl.flags import FlagValues

from noisyjax.cli.command import Command, define_config, define_workdir, needed
from noisyjax.system.log import say


def declare(values: FlagValues) -> None:
  define_config(values)
  define_workdir(values, 'Folder of the text and the pictures.')


def run(values: FlagValues) -> None:
  from noisyjax.data import prepare, split
  from noisyjax.reports import inspect
  from noisyjax.system import lock

  config, folder = needed(values, 'config'), Path(needed(values, 'workdir'))
  data, truth, _, source = prepare.load(config)
  parts = split.split(data, truth, config.data, source)
  data = data.with_labels(verified=split.reveal(data, truth, parts.train, config.data.trusted, config.data.seed))
  with lock.held(folder):
    say(inspect.inspect(data, truth, parts, folder))


COMMAND = Command(
  'inspect', '--config=F --workdir=W', 'the data as text and pictures, before anything is trained', declare, run
)
