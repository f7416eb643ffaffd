import logging

import numpy as np
import pytest
import runs
from PIL import Image

from noisyjax import cli, step, writer
from noisyjax.data import prepare
from noisyjax.errors import UserError
from noisyjax.experiments import report, sweep


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  return runs.npz(tmp_path_factory.mktemp('data') / 'data.npz')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr('noisyjax.experiments.report.write_report', lambda folder: None)


# A user's mistake: one line on stderr, exit code 2, no traceback. (A process each, for what only a process shows.)

MISTAKES = {
  'unknown command': (['trian'], "command: found 'trian'. Did you mean 'train'? Commands:"),
  'no command': ([], "command: found 'nothing'"),
  'something beside the command': (['train', 'fast'], "train: found 'fast' beside the command"),
  'missing recipe': (['train', '--workdir=w'], '--config: missing; expected a recipe such as configs/digits.py'),
  'missing workdir': (['train', '--config=configs/digits.py'], '--workdir: missing; expected a folder such as'),
  'missing images': (['predict', '--workdir=WORKDIR'], '--workdir|WORKDIR: not a finished run'),
  'no such recipe': (['train', '--config=configs/digit.py'], "--config: there is no file 'configs/digit.py'. Recipes: "),
  'unknown flag': (['train', '--work=w'], "Unknown command line flag 'work'"),
  'unknown field': (
    ['train', '--config=configs/digits.py', '--config.optim.lrr=1'],
    "--config: there is no field 'optim.lrr'. Did you mean 'optim.lr'? Fields of optim: b1, b2",
  ),
  'value of another type': (
    ['train', '--config=configs/digits.py', '--config.optim.lr=high'], 'flag --config.optim.lr=high: could not convert',
  ),
  'unknown strategy': (
    ['train', '--config=configs/digits.py', '--config.strategy.name=naiv', '--workdir=WORKDIR'],
    "strategy.name: unknown value 'naiv'. Did you mean 'naive'? Choices: ",
  ),
  'broken recipe': (['train', '--config=BROKEN', '--workdir=w'], "BROKEN, line 5: NameError: name 'b' is not defined"),
  'grid and nothing': (['sweep', '--config=configs/digits.py', '--workdir=w'], 'sweep: expected either --grid='),
}  # fmt: skip


def mistaken(arguments, monkeypatch, capsys) -> tuple[int, str]:
  """Runs the command line in this process; absl's flags are global, so they are put back."""
  from absl import app, flags

  monkeypatch.setattr('sys.argv', ['launch.py', *arguments])
  monkeypatch.chdir(runs.ROOT)
  saved = flags.FLAGS
  known = {name: saved[name].value for name in saved if saved[name].module == 'noisyjax.cli'}
  try:
    with pytest.raises(SystemExit) as exit:
      app.run(cli._guarded, flags_parser=cli._parse) if False else cli.run()
  finally:
    for name in list(saved):
      if name.startswith('config.'):
        delattr(saved, name)
    saved.unparse_flags()
    for name in known:
      saved[name].unparse()
  return exit.value.code, capsys.readouterr().err
