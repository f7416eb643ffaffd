"""Paths and files that users name: one clear error for a path that is none and a file that is damaged.

Python has a different exception for every way in which a path or a file can be wrong; all are handled here.
"""

import contextlib
import difflib
import lzma
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError

# What readers raise on damaged bytes; passwords and unknown compression are RuntimeErrors.
DAMAGE = (
  OSError,
  ValueError,
  TypeError,
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


def reason(error: Exception) -> str:
  """Returns what an exception says, in one line without the path that the message names anyway."""
  text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
  return 'needs more memory than there is' if isinstance(error, MemoryError) else ' '.join(text.split())


@contextlib.contextmanager
def reading(path: str | Path, what: str, hint: str = 'Is the file complete?') -> Iterator[None]:
  """Turns all that a reader raises on a damaged or foreign file into a UserError.

  Args:
    path: of the file, or what a message calls it. what: it was read as, such as 'a zip'. hint: what to do about it.
  """
  try:
    yield
  except DAMAGE as error:
    raise UserError(f'{path}: cannot be read as {what} ({reason(error)}). {hint}'.rstrip()) from error


def path_of(text: str | Path, where: str = '') -> Path:
  """Returns a path as a person writes it, `~` being their home.

  Args:
    where: the field or flag, for messages.

  Raises:
    UserError: for `~` where no home is known, or a NUL in it.
  """
  mark = f'{where}: ' if where else ''
  if '\0' in str(text):
    raise UserError(f'{mark}{str(text)!r}: holds a NUL character; expected the path of a file or folder.')
  try:
    return Path(text).expanduser()
  except RuntimeError as error:
    raise UserError(f'{mark}{text}: whose home {str(text).split("/")[0]!r} means is not known ({error}).') from error


def kind(path: str | Path) -> str:
  """Returns 'folder', 'file', 'device' (or a pipe, which may never end) or '' (nothing is there); links are followed.

  Raises:
    UserError: where that cannot be known: a name that is too long, a folder that is closed, links in a circle.
  """
  try:
    mode = Path(path).stat().st_mode
  except (FileNotFoundError, NotADirectoryError):
    return ''
  except (OSError, ValueError) as error:
    raise UserError(f'{short(path)}: {reason(error)}; expected the path of a file or folder.') from error
  return 'folder' if stat.S_ISDIR(mode) else 'file' if stat.S_ISREG(mode) else 'device'


def file_of(text: str | Path, where: str = '') -> Path:
  """Returns the path of a file; arguments as in `path_of`.

  Raises:
    UserError: nothing is there, or something that is read to no end, such as a pipe; and as `path_of` and `kind` do.
  """
  path, mark = path_of(text, where), f'{where}: ' if where else ''
  found = kind(path)
  if not found:
    raise UserError(f'{mark}there is no file {short(path)!r}.')
  if found != 'file':
    what = 'folder' if found == 'folder' else 'pipe or device'
    raise UserError(f'{mark}{short(path)}: is a {what}; expected a file.')
  return path


def near(path: Path) -> str:
  """Returns a question that names what lies beside a path that is not there and is called nearly so; '' if nothing."""
  try:
    names = [entry.name for entry in path.parent.iterdir()]
  except OSError:
    return ''
  found = difflib.get_close_matches(path.name, names, n=1, cutoff=0.7)
  return f' Did you mean {str(path.with_name(found[0]))!r}?' if found else ''


def short(path: str | Path) -> str:
  """Returns a path as a message shows it: what is very long is cut."""
  text = str(path)
  return text if len(text) <= 300 else f'{text[:100]}…{text[-100:]} ({len(text)} characters)'
