"""The image files of a folder, zip or tar: their names and contents, and a stamp that changes with them."""

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from noisyjax.data import cache, decode
from noisyjax.data.archive import open_archive
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log

SUFFIXES = (
  '.png',
  '.jpg',
  '.jpeg',
  '.jpe',
  '.jfif',
  '.bmp',
  '.gif',
  '.webp',
  '.tif',
  '.tiff',
  '.ppm',
  '.pgm',
  '.pbm',
  '.pnm',
  '.avif',
  '.jp2',
)
HEIC = ('.heic', '.heif')
RECORDS = {'.tar': 'webdataset', '.arrow': 'huggingface', '.parquet': 'huggingface'}  # suffix → source that reads them
# Folders that operating systems and network storage make: metadata, thumbnails, deleted files.
SYSTEM = ('__MACOSX', '@eaDir', '#recycle', '$RECYCLE.BIN')


@dataclasses.dataclass(frozen=True)
class ImageFiles:
  """Image files below one root.

  Attributes:
    root: folder or archive.
    names: paths below the root with '/', sorted as text.
    folders: all folders below the root that are not hidden, including those without images.
    notes: notes on the files that were left out.
    stamp: sha256 of names, sizes and times (folder, tar) or checksums (zip).
    read: returns the content of a file by its name.
  """

  root: Path
  names: tuple[str, ...]
  folders: tuple[str, ...]
  notes: tuple[str, ...]
  stamp: str
  read: Callable[[str], bytes]

  def take(self, names: Sequence[str]) -> 'ImageFiles':
    """Returns the files with the given names only."""
    if tuple(names) == self.names:
      return self
    stamp = hashlib.sha256('\n'.join([self.stamp, *names]).encode()).hexdigest()
    return dataclasses.replace(self, names=tuple(names), stamp=stamp)

  def decoded(self, size: int = 0, fit: str = 'exact', channels: int = 3, use_cache: bool = True) -> decode.Decoded:
    """Returns all images, decoded (see `decode.decode_all`) or from the cache."""

    def make() -> dict[str, np.ndarray]:
      made = decode.decode_all(self.names, lambda i: self.read(self.names[i]), size, fit, channels, self.stamp)
      texts = {key: np.array(getattr(made, key), dtype='U') for key in ('bad', 'notes')}
      return made._asdict() | texts | {'digests': made.digests.astype('S64')}

    identity = (str(self.root.resolve()), size, fit, channels)
    arrays = cache.cached(identity, self.stamp, make, use_cache, self._still_bad)
    texts = {key: tuple(arrays[key].tolist()) for key in ('bad', 'notes')}
    fields: dict[str, Any] = arrays | texts | {'digests': arrays['digests'].astype('U64')}
    return decode.Decoded(**fields)

  def _still_bad(self, arrays: dict[str, np.ndarray]) -> bool:
    """Returns whether images that were unreadable still are, because a drive may have been unavailable then."""
    bad = set(range(len(self.names))) - set(arrays['good'].tolist())
    return not any(decode.readable(lambda i=i: self.read(self.names[i])) for i in bad)


@contextlib.contextmanager
def open_images(path: str | Path) -> Iterator[ImageFiles]:
  """Lists the images of a folder (with its sub-folders), a zip or a tar; `read` works inside the context.

  Images are recognized by their suffix in upper or lower case, and files without suffix by their first bytes. A broken
  link with the suffix of an image counts as an image that cannot be read. Hidden files (`.DS_Store`, `._x.png`,
  those in a folder of SYSTEM) and other files are left out and counted in `notes`, which are also logged if an error
  ends the context. If a single folder contains all images of a zip or tar, it is not part of the names.

  Raises:
    UserError: there is no such folder, zip or tar, or it contains no image.
  """
  path = reading.path_of(path)
  path = path if path.name else path.resolve()  # '.' has no name for messages
  kind = reading.kind(path)
  if kind == 'file' and path.suffix.lower() in SUFFIXES + HEIC:
    raise UserError(f'{path}: is an image file; expected a folder, zip or tar of images.')
  if kind not in ('folder', 'file'):
    raise UserError(f'{path}: there is no such folder, zip or tar of images.')
  with _folder(path) if kind == 'folder' else _archive(path) as (files, folders, notes, opened):
    found = _listing(path, files, folders, notes, opened)
    try:
      yield found
    except UserError:
      for note in found.notes:
        log.warning('%s', note)
      raise


Found = tuple[
  dict[str, str], set[str], list[str], Callable[[str], IO[bytes]]
]  # files with stamps, folders, notes, open
GONE = 'gone'  # the stamp of a broken link


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[Found]:
  """Lists the files below a folder."""
  files, folders = {}, set()
  for entry, is_folder in _walk(path):
    name = entry.relative_to(path).as_posix()
    if is_folder:
      folders.add(name)
    elif entry.is_symlink() and not entry.exists():
      files[name] = GONE
    elif entry.is_file():  # not a pipe, which may never end
      stat = entry.stat()
      files[name] = f'{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}'
  yield files, folders, [], lambda name: (path / name).open('rb')


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[Found]:
  """Lists the files of an archive; a single top folder that contains all images is removed from the names."""
  with open_archive(path) as archive:
    images = [name for name in archive.files if _kind(name) == 'image']
    top = images[0].split('/')[0] + '/' if images else ''
    prefix = top if all(name.startswith(top) for name in images) else ''
    below = lambda name: name.removeprefix(prefix)
    files = {below(name): stamp for name, stamp in archive.files.items()}
    folders = {below(name) for name in archive.folders if name + '/' != prefix}
    yield files, folders, archive.notes, lambda name: archive.open(prefix + name)


def _walk(path: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, bool]]:
  """Yields every path below a folder, and whether it is a folder. Links are followed, except to a folder above them.

  Raises:
    UserError: a folder cannot be read.
  """
  above = (*above, path.resolve())
  try:
    inside = [(entry, entry.is_dir()) for entry in sorted(path.iterdir())]
  except OSError as error:
    if _kind(path.name) == 'hidden' or path.name == 'lost+found':
      return
    raise UserError(f'{path}: cannot be read: {error.strerror or error}.') from error
  for entry, folder in inside:
    if not folder:
      yield entry, False
    elif entry.resolve() not in above:
      yield entry, True
      yield from _walk(entry, above)


def _kind(name: str) -> str:
  """Returns 'image', 'heic', 'hidden', 'unnamed' (no suffix) or 'other', judged by the name of a file."""
  if name.startswith('.') or '/.' in name or not {*SYSTEM}.isdisjoint(name.split('/')):
    return 'hidden'
  suffix = PurePosixPath(name).suffix.lower()
  return 'image' if suffix in SUFFIXES else 'heic' if suffix in HEIC else 'other' if suffix else 'unnamed'


def _listing(
  root: Path, files: dict[str, str], folders: set[str], notes: list[str], opened: Callable[[str], IO[bytes]]
) -> ImageFiles:
  """Selects the images among the files; raises UserError if there are none."""
  kinds = {'image': [], 'hidden': [], 'other': [], 'heic': [], 'unnamed': []}
  for name in sorted(files):
    kinds[_kind(name)].append(name)
  for name in kinds['unnamed'] + kinds['heic']:  # some files named .heic are JPEGs
    if files[name] != GONE and decode.identified(lambda name=name: opened(name)):
      kinds['image'].append(name)
    elif _kind(name) == 'unnamed':
      kinds['other'].append(name)
  names = tuple(sorted(kinds['image']))
  heic = sorted(set(kinds['heic']) - set(names))
  skipped = _skipped(kinds['hidden'], kinds['other'], heic)
  if not names:
    sources = sorted({RECORDS[suffix] for n in kinds['other'] if (suffix := PurePosixPath(n).suffix) in RECORDS})
    inside = (
      f' If images are inside these files, data.source={" or ".join(sources)} reads them; `find` and `predict` read '
      'the pack that `pack` makes of them.'
    )
    raise UserError(
      f'{root}: contains no images ({"; ".join(skipped) or "no files"}). Image files end in {", ".join(SUFFIXES)}.'
      + (inside if sources else '')
    )
  for name in names:
    check_name(name, root)
  stamp = hashlib.sha256('\n'.join(f'{name}\t{files[name]}' for name in names).encode()).hexdigest()
  shown = tuple(sorted(folder for folder in folders if _kind(folder) != 'hidden'))

  def read(name: str) -> bytes:
    if files[name] == GONE:
      raise FileNotFoundError('the link is broken')
    with opened(name) as file:
      return file.read()

  left_out = (f'{root.name}: skipped {text}.' for text in skipped)
  return ImageFiles(root, names, shown, (*notes, *left_out), stamp, read)


def check_name(name: str, where: str | Path) -> None:
  """Raises UserError if a name holds bytes that are not UTF-8: tables and pages could not hold it."""
  try:
    name.encode()
  except UnicodeEncodeError:
    raise UserError(f'{where}: the name of {name!a} is not UTF-8. Rename the file.') from None


def _skipped(hidden: list[str], other: list[str], heic: list[str]) -> list[str]:
  """Returns notes on the files that are left out."""
  out = [f'{len(hidden)} hidden file(s)'] if hidden else []
  if other:
    suffixes = Counter(PurePosixPath(name).suffix or 'no suffix' for name in other).most_common()
    out.append(f'{len(other)} file(s) that are not images ({listed(f"{suffix}: {n}" for suffix, n in suffixes)})')
  return out + ([f'{len(heic)} photo(s) such as {heic[0]}: {decode.NO_HEIC}'] if heic else [])
