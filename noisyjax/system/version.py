"""Identifies the code that runs: the version of noisyjax, a digest of its source and the git revision."""

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
  """Returns the output of a git command on the checkout that contains noisyjax; None without git or a checkout.

  An installed package may lie inside an unrelated repository of the user. Only a repository that tracks this package
  counts as its checkout.
  """
  here = _package() / '__init__.py'

  def ask(*words: str) -> str | None:
    try:
      done = subprocess.run(['git', *words], cwd=here.parent, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
      return None
    return done.stdout.strip() if done.returncode == 0 else None

  return ask(*arguments) if ask('ls-files', '--error-unmatch', here.name) is not None else None


def text() -> str:
  """Returns one line with the versions of noisyjax, jax and Python, and the git revision if there is one."""
  revision = git('rev-parse', '--short=12', 'HEAD')
  modified = ', modified' if revision and git('status', '--porcelain') else ''
  own = f'noisyjax {__version__}' + (f' (revision {revision}{modified})' if revision else '')
  return f'{own}, jax {metadata.version("jax")}, Python {platform.python_version()}'


def _package() -> Path:
  """Returns the folder of the package."""
  return Path(__file__).parents[1]


def versions() -> dict[str, Any]:
  """Returns the identity of the running code, as environment.json records it.

  Returns:
    source: digest of the source files of noisyjax.
    git: git revision, or None.
    modified: whether the checkout has uncommitted changes.
    versions: installed version of each package.
  """
  found = {'noisyjax': __version__}  # a checkout has no package metadata
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
  """Returns a digest of the Python files of this package; it also identifies code that is not committed."""
  here = _package()
  out = hashlib.sha256()
  for path in sorted(here.rglob('*.py')):
    out.update(f'{path.relative_to(here).as_posix()}\0'.encode() + path.read_bytes() + b'\0')
  return out.hexdigest()[:12]


def code_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
  """Returns the differences in code between two environments (environment.json): package versions and source digest."""
  old, new = there.get('versions', {}), here['versions']
  lines = [f'{name} {old[name]} → {new[name]}' for name in sorted(old.keys() & new.keys()) if old[name] != new[name]]
  mark = 'source' if 'source' in there else 'git'
  if there.get(mark) != here[mark]:
    lines.append(f'{mark} {str(there.get(mark))[:12]} → {str(here[mark])[:12]}')
  return lines


def code(environment: Mapping[str, Any]) -> str:
  """Returns the code of an environment in one line, for tables that hold runs of different code."""
  versions = environment.get('versions', {})
  mark = next((f' ({m} {environment[m][:12]})' for m in ('source', 'git') if environment.get(m)), '')
  own = f'noisyjax {versions.get("noisyjax", "?")}{mark}'
  return ', '.join([own, *(f'{name} {versions[name]}' for name in ('jax', 'jaxlib') if name in versions)])


@functools.cache
def code_today() -> str:
  """Returns `code` of the running process."""
  return code(versions())
