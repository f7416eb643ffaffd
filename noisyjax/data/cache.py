"""Decoded images on disk, so that a data set is decoded once.

One file per data set and decode settings in the user's cache folder. It holds a stamp of the content it was made of
(names, sizes and times of a folder's files; names and checksums of a zip's): where the stamp differs, the entry counts
as absent and is replaced, so that stale entries never pile up. A cache can only save time: a damaged entry is a miss,
and one that cannot be written is a warning.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL

from noisyjax.system import formats, reading
from noisyjax.system.log import log


def folder() -> Path:
  """Returns `$XDG_CACHE_HOME/noisyjax/decoded`, or the same below `~/.cache`."""
  home = os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()
  return Path(home) / 'noisyjax' / 'decoded'


def cached(
  identity: tuple,
  stamp: str,
  make: Callable[[], dict[str, np.ndarray]],
  enabled: bool = True,
  valid: Callable[[dict[str, np.ndarray]], bool] = lambda arrays: True,
) -> dict[str, np.ndarray]:
  """Returns `make()`, from disk if it was stored with the same `identity` and `stamp`.

  Args:
    identity: where the data are and how they are decoded; names the file.
    stamp: a digest of the content.
    make: → arrays without Python objects.
    enabled: False neither reads nor writes. valid: whether what was stored still holds.
  """
  if not enabled:
    return make()
  try:
    place = folder()
  except RuntimeError as error:  # a user without a home, as in some containers
    log.warning('The decoded images cannot be cached (%s); the next run decodes again.', error)
    return make()
  path = place / f'{hashlib.sha256(repr(identity).encode()).hexdigest()[:32]}.npz'
  stamp = f'{formats.WRITTEN[formats.DECODED]} {PIL.__version__} {stamp}'
  arrays = _read(path, stamp)
  if arrays is None or not valid(arrays):
    arrays = make()
    _write(path, stamp, arrays)
  return arrays


def _read(path: Path, stamp: str) -> dict[str, np.ndarray] | None:
  try:
    with np.load(path, allow_pickle=False) as entry:
      if str(entry['stamp']) != stamp:
        return None
      return {key: entry[key] for key in entry.files if key != 'stamp'}
  except FileNotFoundError:
    return None
  except reading.DAMAGE as error:
    log.warning('The cache entry %s cannot be read (%s); decoding again.', path, error)
    return None


def _write(path: Path, stamp: str, arrays: dict[str, np.ndarray]) -> None:
  """Writes the entry under another name and renames it: a reader never sees half of one."""
  part, written = '', False
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(suffix='.part', dir=path.parent)
    with os.fdopen(handle, 'wb') as file:
      np.savez(file, allow_pickle=False, stamp=np.array(stamp), **arrays)
    Path(part).replace(path)
    written = True
  except OSError as error:
    log.warning('The decoded images cannot be cached in %s (%s); the next run decodes again.', path.parent, error)
  finally:  # Ctrl-C too
    if part and not written:
      with contextlib.suppress(OSError):
        Path(part).unlink()
