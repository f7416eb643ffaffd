"""What the sources of published data sets share: their files in a folder or archive, and how their layouts are told.

A source of `noisyjax.data.sources` that knows a layout defines `MARKS`: alternatives, each a tuple of patterns of which
every one matches a file below the data set's folder.
"""

import contextlib
import fnmatch
import importlib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from noisyjax.data.archive import open_archive
from noisyjax.system import plugins, reading
from noisyjax.system.errors import UserError, listed

SOURCES = 'noisyjax.data.sources'
_DEPTH = 4  # folders around a data set that are looked into
Marks = Sequence[tuple[str, ...]]


@contextlib.contextmanager
def members(path: Path) -> Iterator[dict[str, Callable[[], bytes]]]:
  """Returns the files of a folder (without subfolders) or of an archive (with them): name → a function that reads it.

  Raises:
    UserError: there is no such folder or archive, or, on reading, several files of an archive have this name.
  """
  kind = reading.kind(path)
  if kind == 'folder':
    yield {entry.name: entry.read_bytes for entry in sorted(path.iterdir()) if entry.is_file()}
    return
  if kind != 'file':
    raise UserError(f'data.path: there is no folder or archive {str(path)!r}.{reading.near(path)}')
  with open_archive(path) as archive:

    def reader(names: list[str]) -> Callable[[], bytes]:
      def read() -> bytes:
        if len(names) > 1:
          raise UserError(f'{path}: has {listed(names)}; expected one data set. Unpack it and give one of its folders.')
        with archive.open(names[0]) as file:
          return file.read()

      return read

    places = defaultdict(list)
    for name in archive.files:
      places[PurePosixPath(name).name].append(name)
    yield {name: reader(found) for name, found in places.items()}


def top(path: Path, marks: Marks) -> Path:
  """Returns the folder of a data set: `path`, or the one that it wraps, where only that one has the layout.

  Args:
    path: folder or archive.
    marks: the layout.
  """
  return next((place for place in _wrapped(path) if _has(marks, _matcher(place))), path)


def source_of(path: Path, names: Sequence[str] = ()) -> str:
  """Returns the name of the source that knows the layout of a folder or zip; '' if none does.

  Args:
    path: folder or archive.
    names: names of the files in an archive; () = those of a zip.
  """
  matches = _matcher(path, names)
  for name in plugins.names(SOURCES, 'MARKS'):
    if _has(getattr(importlib.import_module(f'{SOURCES}.{name}'), 'MARKS', ()), matches):
      return name
  return ''


def refuse_known(path: Path, names: Sequence[str] = ()) -> None:
  """Raises UserError if a published data set that has its own source is at a path, alone in it, or in the folder above.

  Args:
    path: folder or archive.
    names: names of the files in an archive; () = those of a zip.
  """
  for place in (*_wrapped(path), *([path.parent] if reading.kind(path) == 'folder' else [])):
    if name := source_of(place, names):
      raise UserError(
        f'{path}: is laid out as the published data set {name}, whose classes are not its folders. Set '
        f'data.source={name} and data.path={place}.'
      )


def text_of(base: Path, name: str) -> list[str]:
  """Returns the lines of a text file of a data set, without blank ones.

  Raises:
    UserError: there is no such file, or it is not UTF-8.
  """
  path = base / name
  if reading.kind(path) != 'file':
    there = listed(sorted(entry.name for entry in base.iterdir())) if reading.kind(base) == 'folder' else 'no folder'
    raise UserError(f'{base}: has no file {name!r} ({there}); expected the files as they are published.')
  with reading.reading(path, 'text in UTF-8', ''):
    return [line for line in path.read_text(encoding='utf-8-sig').split('\n') if line.strip()]


def pairs(base: Path, name: str, classes: int) -> dict[str, int]:
  """Reads lines "key label", such as `images/0/a.jpg 3`.

  Args:
    base: folder of the data set.
    name: the file in it.
    classes: number of classes.

  Returns:
    key → label.

  Raises:
    UserError: a line has another form, its label is not in 0..classes-1, or two lines label one key differently.
  """
  found: dict[str, int] = {}
  for row, line in enumerate(text_of(base, name), 1):
    key, label = (line.strip().rsplit(None, 1) + [''])[:2]  # some copies have a tab for the space
    if not label.isdecimal() or int(label) >= classes or found.get(key, int(label)) != int(label):
      raise UserError(
        f'{base / name}: row {row}: {line[:100]!r}; expected "path label" with one label in 0..{classes - 1} a path.'
      )
    found[key] = int(label)
  return found


def _has(marks: Marks, matches: Callable[[str], bool]) -> bool:
  """Returns whether all patterns of one alternative match."""
  return any(all(map(matches, patterns)) for patterns in marks)


def _wrapped(path: Path) -> Iterator[Path]:
  """Yields a path and, while it is a folder with a single one in it, that one; unpacking leaves such folders."""
  for _ in range(_DEPTH):
    yield path
    inside: list[Path] = []
    with contextlib.suppress(OSError):
      inside = [entry for entry in path.iterdir() if entry.name[0] not in '._' and entry.is_dir()]
    if len(inside) != 1:
      return
    (path,) = inside


def _matcher(path: Path, names: Sequence[str] = ()) -> Callable[[str], bool]:
  """Returns whether a pattern matches a file below a folder or in an archive, without the folders around all of it."""
  if reading.kind(path) == 'folder':
    return lambda pattern: any(found.is_file() for found in path.glob(pattern))
  with contextlib.suppress(*reading.DAMAGE):
    if not names and zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
  levels = [names]
  for _ in range(1, _DEPTH):
    folders = {name.partition('/')[0] for name in levels[-1] if '/' in name}
    inside = [folder for folder in folders if folder[:1] not in '._']
    if len(inside) != 1:
      break
    levels.append([name.partition('/')[2] for name in levels[-1] if name.startswith(f'{inside[0]}/')])
  return lambda pattern: any(fnmatch.fnmatchcase(name, pattern) for level in levels for name in level)
