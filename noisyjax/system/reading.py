"""Checks of paths and files given by the user: invalid paths and damaged files raise a UserError.

Python and its libraries raise many different exceptions for invalid paths and damaged files; this module handles all
of them.
"""

import contextlib
import difflib
import lzma
import os
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError

# Exceptions that readers raise on damaged content; a password and an unknown compression raise RuntimeError.
DAMAGE = (
  OSError,
  ValueError,
  TypeError,
  AttributeError,
  ArithmeticError,
  LookupError,
  EOFError,
  RuntimeError,
  MemoryError,
  SyntaxError,
  tokenize.TokenError,
  zlib.error,
  lzma.LZMAError,
  struct.error,
  zipfile.BadZipFile,
  tarfile.TarError,
)


_OBJECTS = (
  'it holds Python objects, which are not loaded: save numbers as array.astype(float), names as array.astype(str)'
)


def reason(error: Exception) -> str:
  """Returns the message of an exception in one line; of an OSError without the path, which our messages name."""
  if isinstance(error, MemoryError):
    return 'needs more memory than there is'
  text = ' '.join((getattr(error, 'strerror', None) or str(error) or type(error).__name__).split()).rstrip('.')
  if 'Object arrays' in text:  # NumPy's advice for these is to load pickles
    return _OBJECTS
  return 'its content is no array' if 'allow_pickle' in text else text


@contextlib.contextmanager
def reading(path: str | os.PathLike, what: str, hint: str = 'Is the file complete?') -> Iterator[None]:
  """Turns every exception that a reader raises on damaged content into a UserError.

  Args:
    path: path of the file, or its name in messages.
    what: the expected file type, such as 'a zip'.
    hint: advice that ends the message.

  Raises:
    UserError: the block raised one of DAMAGE.
  """
  try:
    yield
  except DAMAGE as error:
    why = reason(error)
    raise UserError(f'{path}: cannot be read as {what} ({why}). {"" if why == _OBJECTS else hint}'.rstrip()) from error


def path_of(text: str | Path, where: str = '') -> Path:
  """Returns a path given by the user, with `~` replaced by the home folder.

  Args:
    text: the path.
    where: name of the field or flag in messages.

  Raises:
    UserError: the path holds a NUL character, or starts with `~` and the home folder is unknown.
  """
  mark = f'{where}: ' if where else ''
  if '\0' in str(text):
    raise UserError(f'{mark}{str(text)!r}: holds a NUL character; expected the path of a file or folder.')
  try:
    return Path(text).expanduser()
  except RuntimeError as error:
    home = str(text).split('/')[0]
    raise UserError(f'{mark}{text}: the home folder {home!r} is unknown ({error}). Give an absolute path.') from error


def kind(path: str | os.PathLike) -> str:
  """Returns what a path leads to: 'folder', 'file', 'device' (including pipes and sockets) or '' (nothing).

  Links are followed.

  Raises:
    UserError: the path cannot be examined: the name is too long, a folder is not accessible, or links form a circle.
  """
  try:
    mode = Path(path).stat().st_mode
  except (FileNotFoundError, NotADirectoryError):
    return ''
  except (OSError, ValueError) as error:
    raise UserError(f'{short(path)}: {reason(error)}; expected the path of a file or folder.') from error
  return 'folder' if stat.S_ISDIR(mode) else 'file' if stat.S_ISREG(mode) else 'device'


def file_of(text: str | Path, where: str = '') -> Path:
  """Returns the path of an existing regular file; arguments as in `path_of`.

  Raises:
    UserError: there is no file, or the path leads to a folder, pipe or device; also as `path_of` and `kind`.
  """
  path, mark = path_of(text, where), f'{where}: ' if where else ''
  found = kind(path)
  if not found:
    raise UserError(f'{mark}there is no file {short(path)!r}.{near(path)}')
  if found != 'file':
    what = 'folder' if found == 'folder' else 'pipe or device'
    raise UserError(f'{mark}{short(path)}: is a {what}; expected a file.')
  return path


def near(path: Path) -> str:
  """Returns ' Did you mean …?' with the most similar name in the folder of a missing path; '' if there is none."""
  try:
    names = [entry.name for entry in path.parent.iterdir()]
  except OSError:
    return ''
  found = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
  return f' Did you mean {str(path.with_name(found[0]))!r}?' if found else ''


def short(path: str | os.PathLike) -> str:
  """Returns a path for a message, with the middle of very long paths left out."""
  text = str(path)
  return text if len(text) <= 300 else f'{text[:100]}…{text[-100:]} ({len(text)} characters)'
