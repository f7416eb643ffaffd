"""The images of the rows of a label table: the files that it was made of, or the arrays of its source."""

import contextlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from noisyjax.data import cache, decode, files
from noisyjax.system.errors import UserError
from noisyjax.tables import store


class TableImages(Protocol):
  """Reads the image of a row; safe to call from several threads."""

  def read(self, place: int) -> bytes:
    """Returns the image of the row at `place` as the content of an image file.

    Raises:
      Exception: the file is gone or cannot be read.
    """
    ...


@contextlib.contextmanager
def opened(table: store.Table, root: str = '') -> Iterator[TableImages]:
  """Yields the images of a table.

  Args:
    table: the table.
    root: folder, zip or tar of the images; '' = the one that the table was made of.

  Raises:
    UserError: the images are gone.
  """
  if root := root or table.facts['source'].get('images', ''):
    with files.open_images(root) as found:
      yield _Files(found, table.rows.name)
  else:
    yield _Arrays(table)


class _Files:
  def __init__(self, found: files.ImageFiles, names: np.ndarray) -> None:
    self._found, self._names, self._lock = found, names, threading.Lock()
    self._there = frozenset(found.names)

  def read(self, place: int) -> bytes:
    name = str(self._names[place])
    if name not in self._there:  # only what the folder or archive lists is ever opened
      raise UserError(f'{self._found.root}: holds no image {name!r}.')
    with self._lock:  # archives are read at one position
      return self._found.read(name)


class _Arrays:
  def __init__(self, table: store.Table) -> None:
    # Imported here: folders of images, the usual case, open without them.
    from noisyjax.config.defaults import get_config
    from noisyjax.config.override import override
    from noisyjax.data import dataset, on_table
    from noisyjax.data.images import as_images

    config = get_config()
    source: dict[str, Any] = table.facts['source'].get('data', {})
    override(config, {f'data.{name}': source[name] for name in ('source', 'path', 'name') if name in source}, 'review')
    data = dataset.load(config.data)[0]
    places = on_table.places_of(table.rows, data)
    self._images, self._row = as_images(data.images), np.full(len(table.rows), -1, np.int64)
    self._row[places[places >= 0]] = np.flatnonzero(places >= 0)

  def read(self, place: int) -> bytes:
    row = int(self._row[place])
    if row < 0:
      raise UserError(f'row {place}: its image is not in the source of the table.')
    image = self._images.take(np.array([row]))[0]
    file = io.BytesIO()
    decode.picture(image).save(file, 'PNG')
    return file.getvalue()


def thumbnail_folder() -> Path:
  """Returns the folder of thumbnails, beside the user's cache of decoded images."""
  return cache.folder().with_name('thumbnails')


def pixels(content: bytes) -> np.ndarray:
  """Returns the pixels of an image file, uint8 [H, W, C]; raises an exception if it is damaged."""
  with decode.quiet():
    return decode.decode(content)
