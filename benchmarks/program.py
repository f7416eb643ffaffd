"""How the benchmarks that train whole runs start and what they note about themselves; the repository is importable."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax.system import compile_cache, huge_pages
from noisyjax.system.errors import UserError
from noisyjax.system.interrupt import Stopped
from noisyjax.system.log import show


def run(main: Callable[[], None]) -> None:
  """Runs `main` after flags are read, with huge pages and the compile cache.

  A user's error, Ctrl-C and SIGTERM end it with one line.
  """

  def begin(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f'unexpected argument {argv[1]!r}')
    show()
    compile_cache.enable()
    try:
      main()
    except UserError as error:
      sys.exit(f'error: {error}')
    except Stopped as error:
      print(error, file=sys.stderr)
      sys.exit(128 + error.signal)

  huge_pages.ask()
  logging.set_verbosity(logging.WARNING)
  app.run(begin)


def record() -> dict:
  """Returns what made a table: this program's arguments, without folders of the machine, its revision and versions.

  Runs that were finished before keep their own: a table that is extended may hold figures of an older revision.
  """
  arguments = [a for a in sys.argv[1:] if not a.lstrip('-').startswith(('out=', 'workdir='))]
  git = ('git', '-C', str(Path(__file__).parent), 'describe', '--always', '--dirty')
  revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
  versions = {'python': platform.python_version(), 'jax': jax.__version__, 'revision': revision}
  return {'command': arguments, 'cores': os.cpu_count()} | versions
