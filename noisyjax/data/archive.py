"""A common interface to zips and tars: files under clean names, read one at a time, never unpacked to named files.

Clean names have no `./`, leading `/` or drive letters, and `/` instead of backslashes. Entries whose name leads out of
the archive (`..`) are left out. The declared size of an entry is checked before it is read.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from noisyjax.system.errors import UserError
from noisyjax.system.reading import reading

LARGEST = 2**30  # maximum number of bytes of a file; no image is larger
GROWTH = 100  # maximum size of an unpacked tar, relative to the packed one, beyond LARGEST; a larger one is a tar bomb
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
COMPRESSED = {b'\x1f\x8b': gzip.open, b'BZh': bz2.open, b'\xfd7zXZ\x00': lzma.open}  # by the first bytes of a tar
FOREIGN = {b'Rar!': 'RAR', b'7z\xbc\xaf\x27\x1c': '7z', b'\x28\xb5\x2f\xfd': 'Zstandard'}
UNPACK = 'Unpack it and give the folder.'


class Archive(NamedTuple):
  """The regular files of an archive.

  Attributes:
    files: a stamp for each clean name, which changes with the content.
    folders: names of folders, including empty ones.
    notes: notes on the entries that are left out.
    open: returns an open file by its clean name.
  """

  files: dict[str, str]
  folders: set[str]
  notes: list[str]
  open: Callable[[str], IO[bytes]]


class _Entry(NamedTuple):
  """An entry of an archive."""

  name: str  # as it is stored
  kind: str  # file, folder or other
  size: int
  stamp: str
  source: Any  # ZipInfo or TarInfo
  guessed: bool = False  # whether the encoding of the name is not known


# The entries of an archive, and what opens one of them.
_Opened = tuple[list[_Entry], Callable[[_Entry], IO[bytes]]]


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
  """Opens a zip or a tar (uncompressed, gzip, bzip2 or xz); files can be read within the context.

  Raises:
    UserError: the file is neither, or is damaged, encrypted, or compressed by a method that Python does not support.
  """
  with contextlib.ExitStack() as stack:
    with reading(path, 'a zip or tar'):
      with path.open('rb') as file:
        head = file.read(512)
      for magic, name in FOREIGN.items():
        if head.startswith(magic):
          raise UserError(f'{path}: is a {name} archive, which is not supported; expected a zip or tar. {UNPACK}')
      zipped = zipfile.is_zipfile(path) or head.startswith(b'PK') or path.suffix.lower() == '.zip'
    opener = _open_zip if zipped else _open_tar
    with reading(path, 'a zip' if zipped else 'a zip or tar'):
      entries, read = opener(path, head, stack)
    yield _listed(path, entries, read)


def clean(name: str) -> str | None:
  """Returns the clean name of an entry; '' for the root of the archive, None if it leads out of the archive."""
  parts = [part for part in re.split(r'[\\/]', name) if part not in ('', '.')]
  if parts and re.fullmatch('[A-Za-z]:', parts[0]):
    parts = parts[1:]
  return None if '..' in parts else '/'.join(parts)


def _listed(path: Path, entries: list[_Entry], read: Callable[[_Entry], IO[bytes]]) -> Archive:
  """Returns the files and folders of an archive under clean names, and notes on the entries that are left out."""
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
  if guessed := [entry.name for entry in entries if entry.guessed]:
    notes.append(
      f'{path.name}: {len(guessed)} names are not in UTF-8 and are read in code page 437, such as {guessed[0]!r}; if '
      'that is wrong, unpack it with the program that packed it and give the folder.'
    )
  if twice:
    notes.append(f'{path.name}: {len(twice)} names come twice, such as {twice[0]!r}; the last entry counts.')

  def open_(name: str) -> IO[bytes]:
    if found[name].size > LARGEST:
      raise ValueError(f'its declared size is {found[name].size:,} bytes; at most {LARGEST:,} are read')
    return read(found[name])

  return Archive({name: entry.stamp for name, entry in found.items()}, folders - {''}, notes, open_)


def _open_zip(path: Path, head: bytes, stack: contextlib.ExitStack) -> _Opened:
  """Returns the entries of a zip, and a function that opens one of them."""
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
      f'{path}: {len(unknown)} of {len(infos)} entries are compressed by {method}, which is not supported. {UNPACK}'
    )
  return list(map(_zip_entry, infos)), lambda entry: archive.open(entry.source)


def _zip_entry(info: zipfile.ZipInfo) -> _Entry:
  """Returns an entry of a zip."""
  name, guessed = _zip_name(info)
  return _Entry(name, _zip_kind(info), info.file_size, f'{info.file_size} {info.CRC}', info, guessed)


def _zip_name(info: zipfile.ZipInfo) -> tuple[str, bool]:
  """Returns the name of an entry, and whether it is not in UTF-8: then Python takes it for one in code page 437."""
  raw = info.orig_filename.encode('utf-8' if info.flag_bits & 0x800 else 'cp437')
  beside = _field(info.extra, 0x7075)  # of Info-ZIP and WinRAR: a version, the checksum of `raw`, the name in UTF-8
  try:
    name = (beside[5:] if beside[1:5] == struct.pack('<I', zlib.crc32(raw)) else raw).decode()
  except UnicodeDecodeError:
    return info.filename, True
  return (info.filename if name == info.orig_filename else name), False


def _field(extra: bytes, number: int) -> bytes:
  """Returns the content of an extra field of a zip's entry; b'' if there is none."""
  while len(extra) >= 4:
    own, size = struct.unpack('<HH', extra[:4])
    if own == number:
      return extra[4 : 4 + size]
    extra = extra[4 + size :]
  return b''


def _zip_kind(info: zipfile.ZipInfo) -> str:
  """Returns whether an entry is a 'file', a 'folder' or 'other' (a link)."""
  if info.filename.endswith(('/', '\\')):
    return 'folder'
  return 'other' if stat.S_ISLNK(info.external_attr >> 16) else 'file'


def _open_tar(path: Path, head: bytes, stack: contextlib.ExitStack) -> _Opened:
  """Returns the entries of a tar, and a function that reads one of them."""
  file = stack.enter_context(path.open('rb'))
  opener = next((opener for magic, opener in COMPRESSED.items() if head.startswith(magic)), None)
  if opener:  # unpack to an unnamed temporary file, because images are read in any order and a stream cannot seek back
    packed, file = stack.enter_context(opener(file)), stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    most = LARGEST + GROWTH * path.stat().st_size
    while chunk := packed.read(2**20):
      file.write(chunk)
      if file.tell() > most:
        raise UserError(
          f'{path}: unpacks to more than {GROWTH} times its size; expected an archive of images, which hardly compress.'
        )
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
    with lock:  # all threads share the position in the file
      file = archive.extractfile(entry.source)
      return io.BytesIO(file.read() if file else b'')

  return entries, read
