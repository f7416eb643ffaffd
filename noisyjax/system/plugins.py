"""Plug-ins are found by module name and a fixed class or function name: adding one adds a file.

The file lies in the package, or anywhere else and is named by its path: `./my_method.py`. One's own is loaded as if it
lay in the package, as module `my_method`; the sha256 of what was executed goes with it into the record of a run.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import pkgutil
import sys
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from noisyjax.system import reading
from noisyjax.system.errors import UserError, check_choice


@dataclasses.dataclass(frozen=True)
class File:
  """A plug-in that was loaded by its path.

  Attributes:
    package: dotted name of the package it acts as a module of. name: of that module. file: absolute path. sha256: hex.
  """

  package: str
  name: str
  file: str
  sha256: str


_files: dict[tuple[str, str], File] = {}


def names(package: str, attribute: str) -> list[str]:
  """Returns the modules of `package` (dotted name) that define `attribute`, sorted; those loaded by path among them."""
  path = importlib.import_module(package).__path__
  modules = (m.name for m in pkgutil.iter_modules(path))
  found = {m for m in modules if hasattr(importlib.import_module(f'{package}.{m}'), attribute)}
  return sorted(found | {name for of, name in _files if of == package})


def find(package: str, name: str, attribute: str, field: str) -> Any:
  """Returns `attribute` of module `package.name`, or of the file that `name` is the path of.

  Raises:
    UserError: naming `field`, the nearest name and all names, if there is no such plug-in.
  """
  if is_path(name):
    name = load(package, name, attribute, field).name
  check_choice(field, name, names(package, attribute))
  return getattr(importlib.import_module(f'{package}.{name}'), attribute)


def is_path(name: Any) -> bool:
  """Returns whether a plug-in is named by the path of its file."""
  return isinstance(name, str) and name.endswith('.py')


def loaded(package: str, names: Iterable[str]) -> list[File]:
  """Returns those of the modules that were loaded by their paths."""
  return [_files[package, name] for name in names if (package, name) in _files]


def load(package: str, path: str, attribute: str, field: str, beside: Path | None = None, taken=()) -> File:
  """Loads a file as module `package.NAME`, NAME being the file's without suffix.

  Args:
    package, attribute, field: as in `find`. path: from the current folder, or else from the folder `beside`.
    taken: names that it may not have.
  Raises:
    UserError: no such file; a name that is no Python name, or taken; one that cannot be run; no `attribute` in it.
  """
  places = [reading.path_of(path, field), *([beside / path] if beside else [])]
  file = next((place.resolve() for place in places if reading.kind(place) == 'file'), None)
  if file is None:
    raise UserError(f'{field}: there is no file {path!r}' + (f', nor in {beside}.' if beside else '.'))
  content = file.read_bytes()
  name, digest = file.stem, hashlib.sha256(content).hexdigest()
  if not name.isidentifier():
    raise UserError(f'{field}: {path}: expected a file name of letters, digits and _, as a module has.')
  if known := _files.get((package, name)):
    if known.sha256 == digest:
      return known
    if known.file != str(file) and Path(known.file).is_file():
      raise UserError(f'{field}: {path} and {known.file} have one name; expected files of different names.')
  elif name in {*taken, *_modules(package)}:
    raise UserError(f'{field}: {path}: noisyjax has a {name!r} of its own; expected a file of another name.')
  module = _executed(f'{package}.{name}', file, content)
  if not hasattr(module, attribute):
    raise UserError(f'{field}: {path} has no {attribute}; expected a file that defines it, as those of {package} do.')
  if (source := getattr(getattr(module, attribute), '__module__', None)) != module.__name__:
    raise UserError(f'{field}: {path} has its {attribute} from {source}; expected one that the file itself defines.')
  if known is not None:  # it was edited: programs compiled of what it was are of no use
    jax.clear_caches()
  sys.modules[f'{package}.{name}'] = module
  _files[package, name] = File(package, name, str(file), digest)
  return _files[package, name]


def forget(file: File) -> None:
  """Takes back what `load` did."""
  del _files[file.package, file.name], sys.modules[f'{file.package}.{file.name}']


def attribute(file: File, name: str) -> Any:
  """Returns what a loaded file defines under a name."""
  return getattr(sys.modules[f'{file.package}.{file.name}'], name)


def recall(file: File, attribute: str) -> None:
  """Loads a plug-in that a run recorded: from where it was, or from the current folder.

  Raises:
    UserError: it is gone, or another than the run was trained with.
  """
  here = [place for place in (Path(file.file), Path(Path(file.file).name)) if place.is_file()]
  if not here:
    raise UserError(f'{file.file}: the run was trained with this plug-in, which is not there. Restore it.')
  found = hashlib.sha256(here[0].read_bytes()).hexdigest()
  if found != file.sha256:  # and is not run
    raise UserError(f'{here[0]}: {changed(file.sha256, found)} since the run was trained. Restore the former.')
  load(file.package, str(here[0]), attribute, file.name)


def changed(before: str, now: str) -> str:
  """Returns the words for a file of another content."""
  return f'the plug-in is another (sha256 {before[:12]}… → {now[:12]}…)'


@contextlib.contextmanager
def running(file: Path) -> Iterator[None]:
  """Turns whatever a user's program raises into a UserError that names the file and the line."""
  try:
    yield
  except UserError:
    raise
  except SyntaxError as error:
    line = f', line {error.lineno}' if error.lineno else ''
    raise UserError(f'{error.filename or file}{line}: {type(error).__name__}: {error.msg}.') from error
  except (Exception, SystemExit) as error:
    lines = [f', line {t.lineno}' for t in traceback.extract_tb(error.__traceback__) if t.filename == str(file)]
    raise UserError(f'{file}{"".join(lines[-1:])}: {type(error).__name__}: {error}') from error


def _modules(package: str) -> set[str]:
  path = getattr(importlib.import_module(package), '__path__', [])
  return {m.name for m in pkgutil.iter_modules(path)}


def _executed(name: str, file: Path, content: bytes) -> types.ModuleType:
  """Returns the module that a file's content makes; raises like `running`."""
  module = types.ModuleType(name)
  module.__file__ = str(file)
  before = sys.modules.get(name)
  sys.modules[name] = module  # where dataclasses look for the names in annotations
  try:
    with running(file):
      exec(compile(content, str(file), 'exec'), module.__dict__)
  finally:
    sys.modules.pop(name)
    if before is not None:
      sys.modules[name] = before
  return module
