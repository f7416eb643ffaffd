"""The image files of a folder or a zip: which there are, their bytes, and a stamp that changes with them."""

import contextlib
import dataclasses
import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from noisyjax.data import cache, decode
from noisyjax.errors import UserError

SUFFIXES = (
  '.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.bmp', '.gif', '.webp', '.tif', '.tiff', '.ppm', '.pgm', '.pbm', '.avif',
  '.jp2',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ImageFiles:
  """Image files below one root, by name: the path below the root with '/', sorted as text."""

  root: Path
  names: tuple[str, ...]
  folders: tuple[str, ...]  # folders directly below the root, also those without images
  notes: tuple[str, ...]  # what was left out
  stamp: str  # sha256 of names, sizes and times (folder) or checksums (zip)
  read: Callable[[str], bytes]

  def decoded(self, size: int = 0, fit: str = 'exact', channels: int = 3, use_cache: bool = True) -> decode.Decoded:
    """Decodes all files (see `decode.decode_all`), or takes them from the cache."""

    def make():
      made = decode.decode_all(self.names, lambda i: self.read(self.names[i]), size, fit, channels)
      return made._replace(digests=made.digests.astype('S64'), bad=np.array(made.bad, dtype='U'))._asdict()

    identity = (str(self.root.resolve()), size, fit, channels)
    arrays = cache.cached(identity, self.stamp, make, use_cache, self._as_bad)
    return decode.Decoded(
      arrays['images'], arrays['digests'].astype('U64'), arrays['good'], tuple(arrays['bad'].tolist())
    )

  def _as_bad(self, arrays: dict[str, np.ndarray]) -> bool:
    """Returns whether the images that could not be read still cannot: a drive may have been away."""
    bad = set(range(len(self.names))) - set(arrays['good'].tolist())
    return not any(decode.readable(lambda i=i: self.read(self.names[i])) for i in bad)


@contextlib.contextmanager
def open_images(path: str | Path) -> Iterator[ImageFiles]:
  """Lists the images of a folder (with its sub-folders) or a zip; `read` works inside the context.

  Hidden files (`.DS_Store`, `._x.png`, `__MACOSX/`) and files that are no images by their suffix are left out and
  counted in `notes`. A folder that wraps all of a zip is not part of the names.

  Raises:
    UserError: if there is no such folder or zip, or no image in it.
  """
  path = Path(path).expanduser()
  if path.is_dir():
    found = {p.relative_to(path).as_posix(): p for p in sorted(_walk(path))}
    stats = {name: p.stat() for name, p in found.items() if p.is_file()}
    folders = {p.name for p in path.iterdir() if p.is_dir()}
    yield _listing(
      path,
      {name: f'{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}' for name, stat in stats.items()},
      folders,
      lambda name: found[name].read_bytes(),
    )
  elif path.is_file():
    with _open_zip(path) as archive:
      infos = {info.filename: info for info in archive.infolist()}
      files = {name: f'{info.file_size} {info.CRC}' for name, info in infos.items() if not info.is_dir()}
      images = [name for name in files if _kind(name) == 'image']
      top = images[0].split('/')[0] + '/' if images else ''
      prefix = top if all(name.startswith(top) for name in images) else ''
      below = [name.removeprefix(prefix) for name in infos if name.startswith(prefix)]
      yield _listing(
        path,
        {name.removeprefix(prefix): stamp for name, stamp in files.items()},
        {name.split('/')[0] for name in below if '/' in name},
        lambda name: archive.read(prefix + name),
      )
  else:
    raise UserError(f'{path}: no such folder or zip of images.')


def _walk(path: Path, above: tuple[Path, ...] = ()) -> Iterable[Path]:
  """Yields all files below; links are followed, but not to a folder that they lie in.

  Raises:
    UserError: a folder that cannot be read.
  """
  above = (*above, path.resolve())
  try:
    inside = [(entry, entry.is_dir()) for entry in path.iterdir()]
  except OSError as error:
    if _kind(path.name) == 'hidden' or path.name == 'lost+found':
      return
    raise UserError(f'{path}: cannot be read: {error.strerror or error}.') from error
  for entry, folder in inside:
    if not folder:
      yield entry
    elif entry.resolve() not in above:
      yield from _walk(entry, above)


def _open_zip(path: Path) -> zipfile.ZipFile:
  try:
    return zipfile.ZipFile(path)
  except zipfile.BadZipFile as error:
    raise UserError(f'{path}: neither a folder nor a readable zip ({error}). Is the file complete?') from error
  except OSError as error:
    raise UserError(f'{path}: cannot be read: {error.strerror or error}.') from error


def _kind(name: str) -> str:
  if name.startswith('.') or '/.' in name or '__MACOSX' in name.split('/'):
    return 'hidden'
  return 'image' if name.lower().endswith(SUFFIXES) else 'other'


def _listing(root: Path, stamps: dict[str, str], folders: Iterable[str], read: Callable[[str], bytes]) -> ImageFiles:
  kinds = {'image': [], 'hidden': [], 'other': []}
  for name in sorted(stamps):
    kinds[_kind(name)].append(name)
  names = tuple(kinds['image'])
  if not names:
    raise UserError(f'{root}: no images in it ({len(stamps)} other files). Image files end in {", ".join(SUFFIXES)}.')
  for name in names:
    try:
      name.encode()
    except UnicodeEncodeError:  # no table or page could hold it
      raise UserError(f'{root}: the name of {name!a} is not UTF-8; expected another name.') from None
  notes = []
  if kinds['hidden']:
    notes.append(f'{root.name}: skipped {len(kinds["hidden"])} hidden file(s).')
  if kinds['other']:
    suffixes = Counter(PurePosixPath(name).suffix or 'no suffix' for name in kinds['other'])
    listed = ', '.join(f'{suffix}: {n}' for suffix, n in sorted(suffixes.items()))
    notes.append(f'{root.name}: skipped {len(kinds["other"])} file(s) that are no images ({listed}).')
  stamp = hashlib.sha256('\n'.join(f'{name}\t{stamps[name]}' for name in names).encode()).hexdigest()
  return ImageFiles(root, names, tuple(sorted(f for f in folders if _kind(f) != 'hidden')), tuple(notes), stamp, read)
