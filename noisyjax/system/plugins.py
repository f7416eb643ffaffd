"""Finds plug-ins by module name and a fixed class or function name. Adding a plug-in means adding a file.

A plug-in is a module of the package, or a file of the user, which is given by its path: `./my_method.py`. Such a file
is loaded as if it lay in the package, as module `my_method`; a run records its path and the sha256 of its content.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import pkgutil
import sys
import traceback
import types
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from noisyjax.system import reading
from noisyjax.system.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True)
class File:
  """A plug-in that was loaded by its path.

  Attributes:
    package: dotted name of the package that it is loaded into.
    name: name of the module.
    file: absolute path.
    sha256: digest (hex) of the content.
  """

  package: str
  name: str
  file: str
  sha256: str


_files: dict[tuple[str, str], File] = {}


def names(package: str, attribute: str) -> list[str]:
  """Returns the sorted names of the modules of `package` that define `attribute`, and of its files loaded by path."""
  path = importlib.import_module(package).__path__
  modules = (m.name for m in pkgutil.iter_modules(path))
  found = {m for m in modules if hasattr(importlib.import_module(f'{package}.{m}'), attribute)}
  return sorted(found | {name for of, name in _files if of == package})


def find(package: str, name: str, attribute: str, field: str) -> Any:
  """Returns `attribute` of module `package.name`; if `name` is the path of a file, of that file.

  Args:
    package: dotted name of the package.
    name: name of the module, or path of a file.
    attribute: name of the class or function.
    field: the config field, for messages.

  Raises:
    UserError: there is no such plug-in; the message names the field, the closest name and the choices.
  """
  if is_path(name):
    name = load(package, name, attribute, field).name
  check_choice(field, name, names(package, attribute))
  return getattr(importlib.import_module(f'{package}.{name}'), attribute)


def is_path(name: Any) -> bool:
  """Returns whether the name of a plug-in is the path of a file."""
  return isinstance(name, str) and name.endswith('.py')


def loaded(package: str, names: Iterable[str]) -> list[File]:
  """Returns the modules among `names` that were loaded by their paths."""
  return [_files[package, name] for name in names if (package, name) in _files]


def load(
  package: str, path: str, attribute: str, field: str, beside: Path | None = None, taken: Collection[str] = ()
) -> File:
  """Loads a file as module `package.NAME`, where NAME is the file name without its suffix.

  Args:
    package: dotted name of the package.
    path: path of the file, relative to the current folder, or else to the folder `beside`.
    attribute: name of the class or function that the file must define.
    field: the config field, for messages.
    beside: a second folder in which to look for the file.
    taken: further names that the file must not have.

  Raises:
    UserError: there is no such file; its name is not a Python identifier or is taken; executing it fails; or it does
      not define `attribute`.
  """
  places = [reading.path_of(path, field), *([beside / path] if beside else [])]
  file = next((place.resolve() for place in places if reading.kind(place) == 'file'), None)
  if file is None:
    raise UserError(f'{field}: there is no file {path!r}' + (f', nor in {beside}.' if beside else '.'))
  content = file.read_bytes()
  name, digest = file.stem, hashlib.sha256(content).hexdigest()
  if not name.isidentifier():
    raise UserError(f'{field}: {path}: expected a file name of letters, digits and _, like a Python module. Rename it.')
  if known := _files.get((package, name)):
    if known.sha256 == digest:
      return known
    if known.file != str(file) and Path(known.file).is_file():
      raise UserError(f'{field}: {path} and {known.file} have the same name; expected different names. Rename one.')
  elif name in {*taken, *_modules(package)}:
    raise UserError(f'{field}: {path}: the name {name!r} is already used by noisyjax. Rename the file.')
  module = _executed(f'{package}.{name}', file, content)
  if not hasattr(module, attribute):
    raise UserError(f'{field}: {path} does not define {attribute}; expected a file that does, like those of {package}.')
  if (source := getattr(getattr(module, attribute), '__module__', None)) != module.__name__:
    raise UserError(f'{field}: {path} imports its {attribute} from {source}; expected the file itself to define it.')
  if known is not None:  # the file was edited: drop the programs compiled from its old content
    jax.clear_caches()
  sys.modules[f'{package}.{name}'] = module
  _files[package, name] = File(package, name, str(file), digest)
  return _files[package, name]


def forget(file: File) -> None:
  """Undoes `load`."""
  del _files[file.package, file.name], sys.modules[f'{file.package}.{file.name}']


def attribute(file: File, name: str) -> Any:
  """Returns the attribute `name` of a loaded file."""
  return getattr(sys.modules[f'{file.package}.{file.name}'], name)


def recall(file: File, attribute: str) -> None:
  """Loads a plug-in that a run recorded, from its recorded path or from the current folder.

  Raises:
    UserError: the file is missing, or its content has changed since the run was trained.
  """
  here = [place for place in (Path(file.file), Path(Path(file.file).name)) if place.is_file()]
  if not here:
    raise UserError(f'{file.file}: the run was trained with this plug-in, but the file is missing. Restore it.')
  found = hashlib.sha256(here[0].read_bytes()).hexdigest()
  if found != file.sha256:  # changed code is never executed
    raise UserError(f'{here[0]}: {changed(file.sha256, found)} since the run was trained. Restore the original file.')
  load(file.package, str(here[0]), attribute, file.name)


def changed(before: str, now: str) -> str:
  """Returns the part of a message that says that the content of a plug-in has changed."""
  return f'the plug-in has changed (sha256 {before[:12]}… → {now[:12]}…)'


@contextlib.contextmanager
def running(file: Path) -> Iterator[None]:
  """Turns every exception of the user's code into a UserError that names the file and the line."""
  try:
    yield
  except UserError:
    raise
  except SyntaxError as error:
    line = f', line {error.lineno}' if error.lineno else ''
    raise UserError(f'{error.filename or file}{line}: {type(error).__name__}: {error.msg}.') from error
  except (Exception, SystemExit) as error:
    lines = [f', line {t.lineno}' for t in traceback.extract_tb(error.__traceback__) if t.filename == str(file)]
    said = text if len(text := str(error)) <= 300 else f'{text[:300]}…'
    raise UserError(f'{file}{"".join(lines[-1:])}: {type(error).__name__}: {said}') from error


def _modules(package: str) -> set[str]:
  """Returns the names of all modules of a package; none if `package` is a module."""
  path = getattr(importlib.import_module(package), '__path__', [])
  return {m.name for m in pkgutil.iter_modules(path)}


def _executed(name: str, file: Path, content: bytes) -> types.ModuleType:
  """Executes the content of a file and returns the module; raises like `running`."""
  module = types.ModuleType(name)
  module.__file__ = str(file)
  before = sys.modules.get(name)
  sys.modules[name] = module  # dataclasses resolve the names in annotations there
  try:
    with running(file):
      exec(compile(content, str(file), 'exec'), module.__dict__)
  finally:
    sys.modules.pop(name)
    if before is not None:
      sys.modules[name] = before
  return module
