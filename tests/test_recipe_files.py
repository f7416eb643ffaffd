"""Recipes by name and by file: what is found, what they may import, and what of the current folder is not executed."""

import subprocess
import sys
from pathlib import Path

import pytest

import runs
from noisyjax.config import recipe, recipe_files
from noisyjax.experiments import grid
from noisyjax.system import version
from noisyjax.system.errors import UserError, check_choice


def test_a_name_is_a_shipped_recipe_unless_there_is_a_file_of_that_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name, file in (
    ('digits', 'digits.py'),
    ('configs/digits.py', 'digits.py'),
    ('recipes/elr', 'recipes/elr.py'),
    ('weak_supervision/clean_only', 'weak_supervision/clean_only.py'),
  ):
    assert recipe_files.located(name, '--config') == recipe_files.root() / file
  assert recipe_files.located('digits', '--sweep', 'sweeps') == recipe_files.root() / 'sweeps/digits.py'
  (tmp_path / 'digits').mkdir()  # a folder is no recipe
  assert recipe_files.located('digits', '--config') == recipe_files.root() / 'digits.py'
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs/digits.py').touch()
  assert recipe_files.located('configs/digits.py', '--config') == Path('configs/digits.py')


@pytest.mark.parametrize(
  ('name', 'below', 'near'),
  [
    ('digit', '', 'Similar names: digits'),
    ('elr', '', 'Similar names: recipes/elr,'),
    ('x' * 5000, '', 'There are: base'),
    ('dropout', 'sweeps', 'Similar names: model_2_dropout'),
    ('digits', 'nowhere', 'and noisyjax ships none of that name'),
  ],
)
def test_a_name_of_nothing_is_a_users_mistake_with_near_names(name, below, near):
  with pytest.raises(UserError, match='there is no file') as error:
    recipe_files.located(name, '--config', below)
  assert near in str(error.value)


def test_a_sweep_by_name():
  assert grid.generated('digits') == grid.generated('configs/sweeps/digits.py')


def test_recipes_import_the_shipped_ones_and_what_lies_beside_them_but_never_in_place_of_a_library(tmp_path):
  (tmp_path / 'beside.py').write_text('EPOCHS = 7\n')
  (tmp_path / 'wave.py').write_text('raise SystemExit("executed")\n')  # of the standard library; not loaded yet
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs/own.py').write_text('LR = 0.3\n')
  recipe = tmp_path / 'configs' / 'mine.py'
  recipe.write_text(
    'import wave\nimport beside\nfrom configs import digits, own\n\n\ndef get_config():\n  c = digits.get_config()\n'
    '  c.epochs, c.optim.lr = beside.EPOCHS, own.LR\n  return c\n'
  )
  code = (
    'from noisyjax.config import recipe; c = recipe.load("configs/mine.py");'
    ' print(c.epochs, c.optim.lr, c.model.small_cnn.widths)'
  )
  head = f'import sys; sys.path[0] = {str(runs.ROOT)!r}; '
  done = subprocess.run([sys.executable, '-c', head + code], cwd=tmp_path, capture_output=True, text=True, check=False)
  assert done.stdout.split(maxsplit=2)[:2] == ['7', '0.3'], done.stderr


def test_python_m_imports_nothing_of_the_current_folder(tmp_path):
  for name in ('jax', 'absl', 'numpy', 'pathlib', 'difflib'):
    (tmp_path / f'{name}.py').write_text(f'print("{name}.py was executed")\n')
  environment = {'PYTHONPATH': f'{runs.ROOT}:', 'PATH': '/usr/bin:/bin'}  # the colon: the current folder once more
  done = subprocess.run(
    [sys.executable, '-m', 'noisyjax', '--version'],
    cwd=tmp_path,
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('noisyjax ') and 'executed' not in done.stdout


def test_the_revision_is_of_a_checkout_that_holds_the_package(tmp_path, monkeypatch):
  git = lambda *words: subprocess.run(['git', *words], cwd=tmp_path, check=True, capture_output=True)
  package = tmp_path / 'venv' / 'noisyjax'
  package.mkdir(parents=True)
  (package / '__init__.py').touch()
  git('init', '-q')
  monkeypatch.setattr(version, '__file__', str(package / 'system' / 'version.py'))
  identity = ('-c', 'user.name=n', '-c', 'user.email=e@example.org')
  git(*identity, 'commit', '-q', '--allow-empty', '-m', 'a project of the user')
  assert version.git('rev-parse', 'HEAD') is None and 'revision' not in version.text()
  git('add', 'venv')
  git(*identity, 'commit', '-q', '-m', 'the package itself')
  assert len(version.git('rev-parse', 'HEAD')) == 40 and 'revision' in version.text()


@pytest.mark.parametrize(
  ('code', 'text', 'message'),
  [
    ('def get_config(): pass', ':x', r'get_config\(\): too many positional arguments; expected no text after a colon'),
    (
      'def get_config(form): pass',
      '',
      r"missing a required argument: 'form'; expected .* after a colon, as in c\.py:TEXT",
    ),
    ('raise ValueError("long " * 999)', '', 'ValueError: (long ){60}…$'),
  ],
)
def test_a_recipe_that_cannot_be_called_so_says_how(tmp_path, code, text, message):
  (tmp_path / 'c.py').write_text(code)
  with pytest.raises(UserError, match=message):
    recipe.load(f'{tmp_path / "c.py"}{text}')


def test_a_choice_in_other_letters_is_hinted():
  with pytest.raises(UserError, match=r"unknown value 'ELR'\. Did you mean 'elr'"):
    check_choice('strategy.name', 'ELR', ('elr', 'sop', 'gce'))
