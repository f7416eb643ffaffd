"""A cache of decoded images on disk, so that a data set is decoded only once.

The user's cache folder holds one file per data set and decode settings. A file includes a stamp of its sources (names,
sizes and times of the files in a folder; names and checksums of those in a zip). An entry with another stamp is
replaced, so that stale entries do not accumulate. The cache only saves time: a damaged entry is decoded again, and a
failure to write one only logs a warning.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL

from noisyjax.system import formats, reading, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log


def folder() -> Path:
  """Returns `$XDG_CACHE_HOME/noisyjax/decoded`, or `~/.cache/noisyjax/decoded`."""
  home = os.environ.get('XDG_CACHE_HOME') or Path('~/.cache').expanduser()
  return Path(home) / 'noisyjax' / 'decoded'


def cached(
  identity: tuple,
  stamp: str,
  make: Callable[[], dict[str, np.ndarray]],
  enabled: bool = True,
  valid: Callable[[dict[str, np.ndarray]], bool] = lambda arrays: True,
) -> dict[str, np.ndarray]:
  """Returns `make()`, or the stored result of an earlier call with the same `identity` and `stamp`.

  Args:
    identity: location of the data and decode settings; they determine the name of the file.
    stamp: digest of the content.
    make: returns arrays without Python objects.
    enabled: whether the cache is read and written.
    valid: returns whether stored arrays are still valid.
  """
  if not enabled:
    return make()
  try:
    place = folder()
  except RuntimeError as error:  # the user has no home folder, as in some containers
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
  """Returns the arrays of an entry; None if it is missing, damaged or has another stamp."""
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
  """Writes an entry; if it cannot be written, logs a warning."""
  try:
    storage.make_folder(path.parent)
    storage.write_npz(path, {'stamp': np.array(stamp), **arrays})
  except UserError as error:
    log.warning('The decoded images cannot be cached; the next run decodes again. %s', error)
