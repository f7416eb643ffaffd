"""What the pages of docs/, the README and CONTRIBUTING.md tell a reader to type exists: commands, flags, fields, files.

The README's commands are also run, in test_readme_commands.py; `make docs` builds the site.
"""

import re
import shlex
import tomllib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_layout import ROOMS

import runs
from noisyjax.cli.main import COMMANDS
from noisyjax.cli.parse import parse
from noisyjax.config.build import build_model
from noisyjax.config.plugin_fields import SOURCES
from noisyjax.engine.augment import ops
from noisyjax.engine.augment.strength import Strength
from noisyjax.system import plugins
from noisyjax.system.errors import UserError

ROOT = runs.ROOT
PAGES = sorted([*ROOT.glob('docs/*.md'), ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'])
# A program of the reader's, after the words that name its file.
PROGRAM = re.compile(r'Save (?:it|this) as `(\w+\.py)`.*?```python\n(.*?)```', re.DOTALL)
PROGRAMS = {name: text for page in PAGES for name, text in PROGRAM.findall(page.read_text())}


def commands(text: str) -> list[str]:
  """Returns the lines of the blocks of shell commands, joined where one goes on, without comments."""
  blocks = re.findall(r'^```([^\n]*)\n(.*?)^```', text, re.DOTALL | re.MULTILINE)
  lines = '\n'.join(block for language, block in blocks if not language).replace('\\\n', ' ').splitlines()
  return [re.sub(r'\s{2,}#.*', '', line).strip() for line in lines if line.strip()]


def check(command: str) -> None:
  """Fails where a command names what there is not: a make target, a command, flag, field, recipe or file."""
  program, *words = shlex.split(command)
  targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
  if program == 'make':
    assert all(word in targets or '=' in word for word in words), command
  elif program == 'noisyjax' or words[:1] == ['launch.py']:
    arguments = words[program != 'noisyjax' :]
    if arguments not in (['--version'], ['--help']):
      parse(arguments, COMMANDS)
  elif program == 'python' and words[0].endswith('.py'):
    defined = (ROOT / words[0]).read_text()
    assert all(re.search(rf"'{flag}'|--{flag}\b", defined) for flag in re.findall(r'--(\w+)', command)), command
  else:
    assert program in ('.', 'pip', 'git', 'pre-commit', '.venv/bin/python', '.venv/bin/ruff'), command


@pytest.fixture
def reader(tmp_path, monkeypatch):
  """The folder of a reader who saved every program that the pages show, in a process that has loaded none."""
  monkeypatch.setattr(plugins, '_files', {})
  monkeypatch.setattr(ops, 'OPS', dict(ops.OPS))
  monkeypatch.chdir(tmp_path)
  for name, text in PROGRAMS.items():
    Path(name).write_text(text)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_command_names_what_there_is(page, reader):
  for command in commands(page.read_text()):
    check(command)


@pytest.mark.parametrize(
  'wrong',
  [
    'noisyjax trian --config=digits',
    'noisyjax find --folders=5 --images=a',
    'noisyjax train --config=digits --config.optim.rate=1 --workdir=w',
    'noisyjax train --config=digit --workdir=w',
    'make everything',
    'python benchmarks/leaderboard.py --epoch=8',
    'sudo rm',
  ],
)
def test_a_command_that_is_wrong_is_noticed(wrong, reader):
  with pytest.raises((AssertionError, UserError)):
    check(wrong)


def test_the_model_of_the_guide_is_a_network(reader):
  config = parse(['train', '--config=digits', '--config.model.name=./my_model.py'], COMMANDS).flags['config'].value
  model, images = build_model(config, 10), jnp.zeros((2, 8, 8, 1))
  variables = model.init(jax.random.key(0), images, train=False)
  logits, features = model.apply(variables, images, train=False)
  assert logits.shape == (2, 10) and features.shape == (2, 32) and 'head' in variables['params']


def test_the_source_of_the_guide_has_wrong_labels(reader):
  config = parse(['train', '--config=digits', '--config.data.source=./my_source.py'], COMMANDS).flags['config'].value
  data, truth = plugins.find(SOURCES, config.data.source, 'load', 'data.source')(config.data)
  assert data.images.shape == (200, 8, 8, 1) and 0.1 < (data.given != truth).mean() < 0.3


def test_the_augmentation_of_the_guide_stays_in_range(reader):
  parse(['train', '--config=digits', '--config.augment.weak=crop,./my_op.py'], COMMANDS)
  keys = jax.random.split(jax.random.key(0), 3)
  out = np.asarray(ops.augment(('my_op',), Strength(), keys, jnp.full((3, 8, 8, 1), 250.0)))
  assert out.std() > 1 and out.min() >= 0 and out.max() <= 255


def test_the_design_lists_the_rooms_in_their_order():
  text = (ROOT / 'docs/design.md').read_text()
  table = text[text.index('## Rooms') : text.index('## The core protocol')]
  assert tuple(re.findall(r'^\| `(\w+)`', table, re.MULTILINE)) == ROOMS


def test_the_version_is_one():
  version = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']
  assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()
  assert f'## [{version}]' in (ROOT / 'CHANGELOG.md').read_text()
