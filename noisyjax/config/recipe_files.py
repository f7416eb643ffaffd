"""Finds recipes, sweep files and engines: files of the user by path, and files shipped with noisyjax by name.

In a checkout the shipped files are in `configs/`; an installed package contains them as `noisyjax.recipes`. In both
cases they import each other as `configs.…`, through a namespace package that this module creates; no package of that
name is installed.
"""

import contextlib
import difflib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError, listed

_NEAR = 10  # maximum number of similar names in a message


def root() -> Path:
  """Returns the folder of the shipped recipes."""
  package = Path(__file__).resolve().parents[1]
  installed = package / 'recipes'
  return installed if installed.is_dir() else package.parent / 'configs'


def names(below: str = '') -> list[str]:
  """Returns the names of the shipped recipes, such as "digits" and "recipes/elr", or of those in the folder `below`."""
  folder = root() / below
  files = (path.relative_to(folder).with_suffix('') for path in folder.rglob('*.py'))
  recipes = (
    path for path in files if path.name not in ('__init__', 'common') and path.parts[0] not in ('sweeps', 'engines')
  )
  return sorted(path.as_posix() for path in recipes)


def located(name: str, flag: str, below: str = '') -> Path:
  """Returns the path of a recipe.

  Args:
    name: path of a file ("mine.py"), or name of a shipped recipe ("digits", "recipes/elr", "configs/digits.py").
    flag: the flag that gave the name, for messages.
    below: folder of the shipped files in which to look ("sweeps", "engines").

  Raises:
    UserError: there is neither such a file nor such a recipe; the message lists similar names.
  """
  with contextlib.suppress(OSError):  # the name is too long, or its folder is not readable
    if Path(name).is_file():
      return Path(name)
  folder = root() / below
  short = name.removeprefix('configs/').removeprefix(f'{below}/').removesuffix('.py')
  known = names(below)
  if short in known:
    return folder / f'{short}.py'
  ends = {known_name.rpartition('/')[2]: known_name for known_name in reversed(known)}  # "elr" → "recipes/elr"
  near = [ends[short]] if short in ends else []
  near += [ends.get(n, n) for n in difflib.get_close_matches(short, [*known, *ends], n=_NEAR, cutoff=0.5)]
  near = list(dict.fromkeys(near))
  hint = f'Similar names: {", ".join(near)}.' if near else f'There are: {listed(known)}.'
  raise UserError(f'{flag}: there is no file {name!r}, and noisyjax ships none of that name. {hint}')


@contextlib.contextmanager
def importing(file: Path) -> Iterator[None]:
  """Within this block, a recipe can import modules from its own folder, and the shipped recipes as `configs.…`.

  Installed packages take precedence: a file beside a recipe cannot replace a library.
  """
  own = [p for p in file.resolve().parents if p.name == 'configs'][:1]
  if 'configs' not in sys.modules:
    spec = importlib.machinery.ModuleSpec('configs', None, is_package=True)
    sys.modules['configs'] = importlib.util.module_from_spec(spec)
  sys.modules['configs'].__path__ = list(map(str, [*own, root()]))
  path = sys.path.copy()
  sys.path += [str(file.resolve().parent), *(str(p.parent) for p in own)]
  try:
    yield
  finally:
    sys.path[:] = path
