"""Pictures for the page: original files, and thumbnails, made on demand and by a thread in the background.

All thumbnails lie in one file, one after another; their offsets are written when the last one is made, so that the
next page on the same images makes none.
"""

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from noisyjax.loop import table_images
from noisyjax.loop.table_images import TableImages
from noisyjax.system import reading, storage
from noisyjax.system.log import log

SIDE = 160  # pixels of the longer side of a thumbnail
_TYPES = ((b'\x89PNG', 'image/png'), (b'\xff\xd8', 'image/jpeg'), (b'GIF8', 'image/gif'))


def shown(content: bytes) -> tuple[bytes, str]:
  """Returns an image file that browsers show, and its media type; other formats are converted to PNG."""
  for start, media in _TYPES:
    if content.startswith(start):
      return content, media
  if content[:4] == b'RIFF' and content[8:12] == b'WEBP':
    return content, 'image/webp'
  return _encoded(table_images.pixels(content), 'PNG', 0), 'image/png'


class Thumbnails:
  """The thumbnails of a table.

  Attributes:
    made: how many exist.
    total: how many there will be.
  """

  def __init__(self, images: TableImages, places: np.ndarray, key: str, folder: Path | None = None) -> None:
    """Opens the cache.

    Args:
      images: the images.
      places: the rows that may be asked for.
      key: names the images, such as the first version of the table.
      folder: folder of the cache; None = that of the user.
    """
    self._images, self._places, self.total = images, places, len(places)
    folder = folder or table_images.thumbnail_folder()
    storage.make_folder(folder)
    name = hashlib.sha256(f'{key} {SIDE}'.encode()).hexdigest()[:32]
    self._index, blob = folder / f'{name}.npy', folder / f'{name}.blob'
    self._blob: Path = blob
    self._part: IO[bytes] | None = None  # the file while it is being made
    self._at: dict[int, tuple[int, int]] = {}
    self._lock, self._stop = threading.Lock(), threading.Event()
    self._free, self._waiting = threading.Event(), 0
    self._free.set()
    if blob.exists() and (known := _known(self._index, blob.stat().st_size)):
      self._at = known
      self._end, self._file = blob.stat().st_size, os.open(blob, os.O_RDWR)
    else:
      # Without a name: nothing is left if the process is killed.
      self._part = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
      self._end, self._file = 0, os.dup(self._part.fileno())
    self._thread = threading.Thread(target=self._fill, daemon=True)

  @property
  def made(self) -> int:
    return len(self._at)

  def start(self) -> None:
    """Begins to make all thumbnails in the background."""
    self._thread.start()

  def close(self) -> None:
    """Ends the background thread."""
    self._stop.set()
    if self._thread.is_alive():
      self._thread.join()
    os.close(self._file)
    if self._part:
      self._part.close()

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Lets the background thread wait until the block ends, so that it does not delay an answer.

    All blocks are of one thread, that of the server's requests.
    """
    self._waiting += 1
    self._free.clear()
    try:
      yield
    finally:
      self._waiting -= 1
      if not self._waiting:
        self._free.set()

  def read(self, place: int) -> tuple[bytes, str]:
    """Returns a thumbnail and its media type; raises an exception if its image cannot be read."""
    if place not in self._at:
      small = _small(self._images.read(place))
      with self._lock:
        if place not in self._at:
          os.pwrite(self._file, small, self._end)
          self._at[place] = (self._end, len(small))
          self._end += len(small)
    offset, size = self._at[place]
    return shown(os.pread(self._file, size, offset))

  def _fill(self) -> None:
    bad = 0
    for place in self._places.tolist():
      self._free.wait()
      if self._stop.is_set():
        return
      if place not in self._at:
        try:
          self.read(place)
        except Exception:  # a decoder on damaged bytes may raise anything; the page shows that there is no picture
          bad += 1
    if bad:
      log.warning('thumbnails: %d of %d images cannot be read.', bad, self.total)
    if self._part:
      with self._lock:
        rows = [(place, *at) for place, at in self._at.items()]
        self._part.seek(0)
        with storage.replacing(self._blob) as file:
          shutil.copyfileobj(self._part, file)
      storage.write_bytes(self._index, storage.npy(np.array(rows, np.int64).reshape(-1, 3)))


def _known(index: Path, end: int) -> dict[int, tuple[int, int]]:
  """Returns place → offset and size in a file of `end` bytes; {} if the index is missing or damaged: made again."""
  try:
    found = np.load(index)
    if found.dtype != np.int64 or found.shape[1:] != (3,) or (found < 0).any() or (found[:, 1:].sum(1) > end).any():
      return {}
    return {place: (offset, size) for place, offset, size in found.tolist()}
  except reading.DAMAGE:
    return {}


def _small(content: bytes) -> bytes:
  """Returns an image file of at most SIDE pixels a side: the file itself if it is small, as PNG or JPEG."""
  with Image.open(io.BytesIO(content)) as image:
    if max(image.size) <= SIDE and image.format in ('PNG', 'JPEG') and len(content) < 2**16:
      return content
  return _encoded(table_images.pixels(content), 'JPEG', SIDE)


def _encoded(pixels: np.ndarray, form: str, side: int) -> bytes:
  """Returns pixels, uint8 [H, W, 3], as an image file, with at most `side` pixels a side; 0 = at their own size."""
  picture = Image.fromarray(pixels)
  if side:
    picture.thumbnail((side, side), Image.Resampling.BICUBIC)
  file = io.BytesIO()
  picture.save(file, form, **({'quality': 85} if form == 'JPEG' else {}))
  return file.getvalue()
