"""What the sources of published data sets share: their files in a folder or archive, and how their layouts are told.

A source of `noisyjax.data.sources` that knows a layout defines `MARKS`: alternatives, each a tuple of patterns of which
every one matches a file below the data set's folder.
"""

import contextlib
import fnmatch
import importlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from noisyjax.data.archive import open_archive
from noisyjax.system import plugins, reading
from noisyjax.system.errors import UserError, listed

SOURCES = 'noisyjax.data.sources'


@contextlib.contextmanager
def members(path: Path) -> Iterator[dict[str, Callable[[], bytes]]]:
  """Returns the files of a folder (without subfolders) or of an archive (with them): name → a function that reads it.

  Raises:
    UserError: there is no such folder or archive.
  """
  kind = reading.kind(path)
  if kind == 'folder':
    yield {entry.name: entry.read_bytes for entry in sorted(path.iterdir()) if entry.is_file()}
    return
  if kind != 'file':
    raise UserError(f'data.path: there is no folder or archive {str(path)!r}.{reading.near(path)}')
  with open_archive(path) as archive:

    def reader(name: str) -> Callable[[], bytes]:
      def read() -> bytes:
        with archive.open(name) as file:
          return file.read()

      return read

    yield {PurePosixPath(name).name: reader(name) for name in archive.files}


def source_of(path: Path) -> str:
  """Returns the name of the source that knows the layout of a folder or zip; '' if none does."""
  matches = _matcher(path)
  for name in plugins.names(SOURCES, 'MARKS'):
    marks = getattr(importlib.import_module(f'{SOURCES}.{name}'), 'MARKS', ())
    if any(all(map(matches, patterns)) for patterns in marks):
      return name
  return ''


def refuse_known(path: Path) -> None:
  """Raises UserError if a folder or zip, or the folder above it, is a published data set that has its own source."""
  for place in (path, path.parent):
    if (place == path or reading.kind(path) == 'folder') and (name := source_of(place)):
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
    return [line for line in path.read_text(encoding='utf-8-sig').splitlines() if line.strip()]


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
    key, _, label = line.strip().rpartition(' ')
    if not key or not label.isdecimal() or int(label) >= classes or found.get(key, int(label)) != int(label):
      raise UserError(
        f'{base / name}: row {row}: {line[:100]!r}; expected "path label" with one label in 0..{classes - 1} a path.'
      )
    found[key.strip()] = int(label)
  return found


def _matcher(path: Path) -> Callable[[str], bool]:
  """Returns whether a pattern matches a file below a folder or in a zip, without its top folder."""
  if reading.kind(path) == 'folder':
    return lambda pattern: any(found.is_file() for found in path.glob(pattern))
  names: list[str] = []
  with contextlib.suppress(*reading.DAMAGE):
    if zipfile.is_zipfile(path):
      with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
  below = [*names, *(name.partition('/')[2] for name in names)]
  return lambda pattern: any(fnmatch.fnmatchcase(name, pattern) for name in below)
