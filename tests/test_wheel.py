"""noisyjax installed from a wheel into a separate environment and used from another folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest

from noisyjax.config import recipe_files

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ('noisyjax', 'configs', 'pyproject.toml', 'setup.py', 'README.md', 'LICENSE')


def run(*command, **options) -> subprocess.CompletedProcess:
  bare = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
  words = list(map(str, command))
  return subprocess.run(words, env=bare, capture_output=True, text=True, check=False, **options)


def output(*command, **options) -> str:
  done = run(*command, **options)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
  """Returns the bin folder of an environment that holds the wheel, and sees this one's libraries."""
  folder = tmp_path_factory.mktemp('wheel')
  source = folder / 'source'
  source.mkdir()
  for name in SHIPPED:
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, source / name)
  here = int(metadata.version('setuptools').partition('.')[0]) >= 77 if _has('setuptools') else False
  how = ['--no-build-isolation'] if here else []  # otherwise pip fetches setuptools
  output(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', *how, '--wheel-dir', folder, source)
  (wheel,) = folder.glob('noisyjax-*.whl')
  venv.create(folder / 'venv')
  python = folder / 'venv' / 'bin' / 'python'
  packages = output(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip()
  Path(packages, 'libraries.pth').write_text(sysconfig.get_path('purelib') + '\n')
  output(sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet', '--no-deps', '--no-index', wheel)
  return python.parent


def _has(package: str) -> bool:
  return any(True for d in metadata.distributions(name=package))


METHOD = '''
import jax
from noisyjax.engine import losses
from noisyjax.engine.strategy import Strategy as Base, Traced, supervised


class Strategy(Base):
  """Cross-entropy against smoothed labels."""

  smooth: Traced = 0.1

  def loss(self, params, state, batch, ctx):
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])
    target = b['target'] * (1 - self.smooth) + self.smooth / ctx.classes
    return supervised(losses.cross_entropy(logits, target), b, logits)
'''


@pytest.fixture
def foreign(tmp_path) -> Path:
  """Returns a folder with a file that must not run."""
  for name in ('jax', 'numpy', 'absl', 'configs'):
    (tmp_path / f'{name}.py').write_text(f'raise SystemExit("{name}.py of the current folder was executed")\n')
  return tmp_path


def test_the_wheel_holds_the_recipes_and_installs_one_package(installed):
  code = 'import importlib.metadata as m; print(*sorted({str(f).split("/")[0] for f in m.files("noisyjax")}))'
  top = output(installed / 'python', '-I', '-c', code).split()
  assert 'noisyjax' in top and 'configs' not in top
  code = 'from noisyjax.config import recipe_files as r; print(r.__file__, *r.names(), *r.names("sweeps"), sep="\\n")'
  file, *names = output(installed / 'python', '-I', '-c', code).split()
  assert 'site-packages' in file and names == recipe_files.names() + recipe_files.names('sweeps')


def test_the_wheel_holds_the_review_page(installed):
  code = (
    'from importlib import resources as r; print(*(f.name for f in (r.files("noisyjax.review") / "static").iterdir()))'
  )
  found = set(output(installed / 'python', '-I', '-c', code).split())
  assert found == {path.name for path in (ROOT / 'noisyjax/review/static').iterdir()} and 'main.js' in found


def test_python_m_and_the_console_script_work_from_another_folder(installed, foreign):
  for command in ((installed / 'python', '-m', 'noisyjax'), (installed / 'noisyjax',)):
    assert re.match(r'noisyjax [\d.]+, jax [\d.]+, Python', output(*command, '--version', cwd=foreign))
  out = output(
    installed / 'noisyjax', 'train', '--config=digits', '--config.epochs=1', '--workdir=runs/digits', cwd=foreign
  )
  assert '| naive' in out and (foreign / 'runs/digits/report.html').exists()


def test_a_method_in_a_file_of_ones_own(installed, foreign):
  (foreign / 'my_method.py').write_text(METHOD)
  flags = ('--config.strategy.name=./my_method.py', '--config.strategy.my_method.smooth=0.25', '--config.epochs=1')
  python = (installed / 'python', '-m', 'noisyjax')
  out = output(*python, 'train', '--config=digits', *flags, '--workdir=runs/mine', cwd=foreign)
  assert '| my_method' in out
  config = json.loads((foreign / 'runs/mine/config.json').read_text())
  assert config['strategy'] == {'name': 'my_method', 'my_method': {'smooth': 0.25}}
  (foreign / 'my_method.py').write_text(METHOD + '\n')
  again = run(*python, 'train', '--config=digits', *flags, '--workdir=runs/mine', cwd=foreign)
  assert again.returncode == 2 and 'my_method.py: the plug-in has changed (sha256' in again.stderr
