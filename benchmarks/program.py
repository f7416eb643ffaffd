"""How the benchmarks that train whole runs start and what they note about themselves; the repository is importable."""

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from noisyjax import compile_cache, huge_pages
from noisyjax.errors import UserError
from noisyjax.log import show


def run(main: Callable[[], None]) -> None:
  """Runs `main` after flags are read, with huge pages and the compile cache; a user's error ends it with one line."""

  def begin(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f'unexpected argument {argv[1]!r}')
    show()
    compile_cache.enable()
    try:
      main()
    except UserError as error:
      sys.exit(f'error: {error}')

  huge_pages.ask()
  logging.set_verbosity(logging.WARNING)
  app.run(begin)


def record() -> dict:
  """Returns what made a table: this program's arguments, without folders of the machine, Python and cores."""
  arguments = [a for a in sys.argv[1:] if not a.lstrip('-').startswith(('out=', 'workdir='))]
  return {'command': arguments, 'python': platform.python_version(), 'cores': os.cpu_count()}
