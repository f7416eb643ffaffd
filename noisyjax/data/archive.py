"""Zips and tars as one: the files in them by clean names, read one at a time; nothing is unpacked by name.

Names lose `./`, leading `/` and drive letters, and backslashes become `/`, as whoever packed them meant; one that leads
out of the archive (`..`) is left out. An entry's declared size is looked at before it is read.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import stat
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from noisyjax.system.errors import UserError
from noisyjax.system.reading import reading

LARGEST = 2**30  # bytes of one file: no image has more
GROWTH = 100  # of a compressed tar beyond LARGEST: more is no data set but a bomb
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
COMPRESSED = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}  # of tars, by their first bytes
FOREIGN = {b'Rar!': 'RAR', b'7z\xbc\xaf\x27\x1c': '7z', b'\x28\xb5\x2f\xfd': 'Zstandard'}
UNPACK = 'Unpack it and give the folder.'


class Archive(NamedTuple):
  """The regular files of an archive.

  Attributes:
    files: clean name → what changes with the content. folders: names of folders, also empty ones.
    notes: what was left out. open: name → the file, to read.
  """

  files: dict[str, str]
  folders: set[str]
  notes: list[str]
  open: Callable[[str], IO[bytes]]


class _Entry(NamedTuple):
  name: str  # as it is stored
  kind: str  # file, folder or other
  size: int
  stamp: str
  source: Any  # ZipInfo or TarInfo


# The entries of an archive, and what opens one of them.
_Opened = tuple[list[_Entry], Callable[[_Entry], IO[bytes]]]


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
  """Lists a zip or a tar (plain, or compressed by gzip, bzip2 or xz); files are read inside the context.

  Raises:
    UserError: a file that is neither, is damaged, encrypted, or compressed in a way that Python does not know.
  """
  with contextlib.ExitStack() as stack:
    with reading(path, 'a zip or tar'):
      with path.open('rb') as file:
        head = file.read(512)
      for magic, name in FOREIGN.items():
        if head.startswith(magic):
          raise UserError(f'{path}: is a {name} archive, which is not read here. {UNPACK}')
      zipped = zipfile.is_zipfile(path) or head.startswith(b'PK') or path.suffix.lower() == '.zip'
    opener = _open_zip if zipped else _open_tar
    with reading(path, 'a zip' if zipped else 'a zip or tar'):
      entries, read = opener(path, head, stack)
    yield _listed(path, entries, read)


def clean(name: str) -> str | None:
  """Returns the path below the archive that the name of an entry means, '' for the archive itself, None outside it."""
  parts = [part for part in re.split(r'[\\/]', name) if part not in ('', '.')]
  if parts and re.fullmatch('[A-Za-z]:', parts[0]):
    parts = parts[1:]
  return None if '..' in parts else '/'.join(parts)


def _listed(path: Path, entries: list[_Entry], read: Callable[[_Entry], IO[bytes]]) -> Archive:
  found, folders, outside, other, twice = {}, set(), [], 0, []
  for entry in entries:
    name = clean(entry.name)
    if name is None:
      outside.append(entry.name)
    elif entry.kind == 'folder':
      folders.add(name)
    elif entry.kind == 'other':
      other += 1
    elif name:
      twice += [name] if name in found else []
      found[name] = entry
  folders |= {'/'.join(parts[:i]) for name in found for parts in [name.split('/')] for i in range(1, len(parts))}
  notes = []
  if outside:
    notes.append(f'{path.name}: left out {len(outside)} entries that lead out of it, such as {outside[0]!r}.')
  if other:
    notes.append(f'{path.name}: left out {other} links or devices.')
  if twice:
    notes.append(f'{path.name}: {len(twice)} names come twice, such as {twice[0]!r}; the last entry counts.')

  def open_(name: str) -> IO[bytes]:
    if found[name].size > LARGEST:
      raise ValueError(f'its declared size is {found[name].size:,} bytes; at most {LARGEST:,} are read')
    return read(found[name])

  return Archive({name: entry.stamp for name, entry in found.items()}, folders - {''}, notes, open_)


def _open_zip(path: Path, head: bytes, stack: contextlib.ExitStack) -> _Opened:
  archive = stack.enter_context(zipfile.ZipFile(path))
  infos = archive.infolist()
  closed = sum(bool(info.flag_bits & 0x1) for info in infos)
  if closed:
    raise UserError(
      f'{path}: is encrypted ({closed} of {len(infos)} entries). Unpack it with its password and give the folder.'
    )
  methods = getattr(zipfile, 'ZIP_ZSTANDARD', None), *METHODS
  unknown = [info for info in infos if info.compress_type not in methods]
  if unknown:
    number = unknown[0].compress_type
    method = getattr(zipfile, 'compressor_names', {}).get(number, number)
    raise UserError(
      f'{path}: {len(unknown)} of {len(infos)} entries are compressed by {method}, which is not read here. {UNPACK}'
    )
  entries = [
    _Entry(_zip_name(info), _zip_kind(info), info.file_size, f'{info.file_size} {info.CRC}', info) for info in infos
  ]
  return entries, lambda entry: archive.open(entry.source)


def _zip_name(info: zipfile.ZipInfo) -> str:
  """Returns the name; many tools write UTF-8 without the flag that says so, and Python then reads it as cp437."""
  if info.flag_bits & 0x800:
    return info.filename
  try:
    return info.filename.encode('cp437').decode()
  except UnicodeError:
    return info.filename


def _zip_kind(info: zipfile.ZipInfo) -> str:
  if info.filename.endswith(('/', '\\')):
    return 'folder'
  return 'other' if stat.S_ISLNK(info.external_attr >> 16) else 'file'


def _open_tar(path: Path, head: bytes, stack: contextlib.ExitStack) -> _Opened:
  file = stack.enter_context(path.open('rb'))
  opener = next((opener for magic, opener in COMPRESSED.items() if head.startswith(magic)), None)
  if opener:  # once to a nameless file on disk: images are read in any order, and a stream only goes forward
    packed, file = stack.enter_context(opener(file)), stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    most = LARGEST + GROWTH * path.stat().st_size
    while chunk := packed.read(2**20):
      file.write(chunk)
      if file.tell() > most:
        raise UserError(f'{path}: unpacks to more than {GROWTH} times its size; that is no set of images.')
    file.seek(0)
  archive = stack.enter_context(tarfile.open(fileobj=file, mode='r:'))  # noqa: SIM115
  state, lock = path.stat(), threading.Lock()
  mark = f'{state.st_size} {state.st_mtime_ns} {state.st_ino}'
  entries = [
    _Entry(
      member.name,
      'folder' if member.isdir() else 'file' if member.isfile() else 'other',
      member.size,
      f'{mark} {member.offset}',
      member,
    )
    for member in archive.getmembers()
  ]

  def read(entry: _Entry) -> IO[bytes]:
    with lock:  # one position for all threads
      file = archive.extractfile(entry.source)
      return io.BytesIO(file.read() if file else b'')

  return entries, read
