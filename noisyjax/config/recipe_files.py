"""Where recipes and sweep files lie: files of one's own, or those that ship with noisyjax, by name.

In a checkout the shipped ones are `configs/`; an installed package holds the same files as `noisyjax.recipes`. They
import each other as `configs.…` in both, which here is a package of no folder: nothing of that name is installed.
"""

import contextlib
import difflib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError

_NEAR = 10  # names that a message lists at most


def root() -> Path:
  """Returns the folder of the shipped recipes."""
  package = Path(__file__).resolve().parents[1]
  installed = package / 'recipes'
  return installed if installed.is_dir() else package.parent / 'configs'


def names(below: str = '') -> list[str]:
  """Returns the shipped recipes, such as "digits" and "recipes/elr", or those in one folder of them."""
  folder = root() / below
  files = (path.relative_to(folder).with_suffix('') for path in folder.rglob('*.py'))
  recipes = (path for path in files if path.name not in ('__init__', 'common') and path.parts[0] != 'sweeps')
  return sorted(path.as_posix() for path in recipes)


def located(name: str, flag: str, below: str = '') -> Path:
  """Returns the file of a recipe: the file `name` itself, or the shipped one of that name.

  Args:
    name: a path ("mine.py"), or a shipped recipe ("digits", "recipes/elr", "configs/digits.py").
    flag: which asks, for the message. below: the folder of the shipped files to look in ("sweeps").
  Raises:
    UserError: neither; it lists near names.
  """
  with contextlib.suppress(OSError):  # a name too long, or in a folder that may not be read
    if Path(name).is_file():
      return Path(name)
  folder = root() / below
  short = name.removeprefix('configs/').removeprefix(f'{below}/').removesuffix('.py')
  known = names(below)
  if short in known:
    return folder / f'{short}.py'
  ends = {known_name.rpartition('/')[2]: known_name for known_name in reversed(known)}  # "elr" is recipes/elr
  near = [ends[short]] if short in ends else []
  near += [ends.get(n, n) for n in difflib.get_close_matches(short, [*known, *ends], n=_NEAR, cutoff=0.5)]
  near = list(dict.fromkeys(near))
  said = f'Near names: {", ".join(near)}.' if near else f'There are: {", ".join(known[:_NEAR])}, ….'
  raise UserError(f'{flag}: there is no file {name!r}, nor does noisyjax ship one of that name. {said}')


@contextlib.contextmanager
def importing(file: Path) -> Iterator[None]:
  """Lets a recipe, while it runs, import what lies beside it and, as `configs.…`, what ships with noisyjax.

  Whatever is installed goes first: a file beside a recipe cannot take the place of a library.
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
