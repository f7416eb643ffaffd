"""Which noisyjax this is: its version, and the revision of the checkout it lies in."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from noisyjax import __version__


def git(*arguments: str) -> str | None:
  """Returns what git says of the checkout that noisyjax lies in; None without git or a checkout.

  An installed package may lie inside a repository of the user's, which does not hold it: that is no checkout of it.
  """
  here = Path(__file__).with_name('__init__.py')

  def ask(*words: str) -> str | None:
    try:
      done = subprocess.run(['git', *words], cwd=here.parent, capture_output=True, text=True, check=False)
    except OSError:  # no git here
      return None
    return done.stdout.strip() if done.returncode == 0 else None

  return ask(*arguments) if ask('ls-files', '--error-unmatch', here.name) is not None else None


def text() -> str:
  """Returns one line: the versions of noisyjax, jax and Python, and the revision where there is one."""
  revision = git('rev-parse', '--short=12', 'HEAD')
  modified = ', modified' if revision and git('status', '--porcelain') else ''
  own = f'noisyjax {__version__}' + (f' (revision {revision}{modified})' if revision else '')
  return f'{own}, jax {metadata.version("jax")}, Python {platform.python_version()}'
