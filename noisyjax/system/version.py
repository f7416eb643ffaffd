"""Which noisyjax this is: its version, a digest of its source, and the revision of the checkout it lies in."""

import contextlib
import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

__version__ = '0.1.0'
_PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'scikit-learn')


def git(*arguments: str) -> str | None:
  """Returns what git says of the checkout that noisyjax lies in; None without git or a checkout.

  An installed package may lie inside a repository of the user's, which does not hold it: that is no checkout of it.
  """
  here = _package() / '__init__.py'

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


def _package() -> Path:
  return Path(__file__).parents[1]


def versions() -> dict[str, Any]:
  """Returns the code of today: versions of packages, digest of noisyjax's own source, revision where there is one."""
  found = {'noisyjax': __version__}  # a checkout is not installed
  for name in _PACKAGES:
    with contextlib.suppress(metadata.PackageNotFoundError):
      found[name] = metadata.version(name)
  return {
    'source': source(),
    'git': git('rev-parse', 'HEAD'),
    'modified': bool(git('status', '--porcelain')),
    'versions': found,
  }


@functools.cache
def source() -> str:
  """Returns a digest of this package's own Python files: what the code is, be it committed or not."""
  here = _package()
  out = hashlib.sha256()
  for path in sorted(here.rglob('*.py')):
    out.update(f'{path.relative_to(here).as_posix()}\0'.encode() + path.read_bytes() + b'\0')
  return out.hexdigest()[:12]


def code_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
  """Returns in what two environments (environment.json) differ as code: package versions and noisyjax's own source."""
  old, new = there.get('versions', {}), here['versions']
  lines = [f'{name} {old[name]} → {new[name]}' for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
  mark = 'source' if 'source' in there else 'git'
  if there.get(mark) != here[mark]:
    lines.append(f'{mark} {str(there.get(mark))[:12]} → {str(here[mark])[:12]}')
  return lines


def code(environment: Mapping[str, Any]) -> str:
  """Returns an environment's code in one line: what a table says of runs that were made by different ones."""
  versions = environment.get('versions', {})
  mark = next((f' ({m} {environment[m][:12]})' for m in ('source', 'git') if environment.get(m)), '')
  own = f'noisyjax {versions.get("noisyjax", "?")}{mark}'
  return ', '.join([own, *(f'{name} {versions[name]}' for name in ('jax', 'jaxlib') if name in versions)])


@functools.cache
def code_today() -> str:
  """Returns `code` of this process."""
  return code(versions())
