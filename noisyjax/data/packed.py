"""Packs: the images of a data set in one file, resized once, with their labels; images are read row by row.

`data.pack` writes a pack. It is a folder of

* `pixels.bin`: the images one after another, uint8 [H, W, C] each (form "raw") or JPEG files (form "jpeg");
* `rows.parquet`: a row for each image: place in `pixels.bin`, id, name, labels, part, source file, sums of its pixels;
* `audit.parquet`: the true labels, which only the audit and `data.trusted` use;
* `pack.json`: the classes, what decoded and resized the images, and digests. It is written last: without it, the pack
  is not finished.

Images are read by `pread` and not through `mmap`. Both take pages from the cache of the operating system, but with
`pread` the memory of the process does not grow with the rows that it has read, and a file that was cut short raises an
error instead of the signal SIGBUS.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import jpeg
from noisyjax.system import formats, parquet, reading, storage
from noisyjax.system.errors import UserError

FACTS, PIXELS, ROWS, AUDIT, JOURNAL = 'pack.json', 'pixels.bin', 'rows.parquet', 'audit.parquet', 'journal.jsonl'
FORMS = ('raw', 'jpeg')
PARTS = ('train', 'val', 'test')  # numbers of the parts in rows.parquet
OPEN = 64  # files that a data set of many files keeps open
TEXT = np.dtypes.StringDType()  # 64 characters take 80 bytes, of which `str` would take 256


class Blob:
  """An open file, of which threads read different places at the same time."""

  def __init__(self, path: Path) -> None:
    self.path = path
    self._file = storage.opened(path)

  def read(self, into: memoryview, offset: int) -> None:
    """Fills `into` with the bytes from `offset` on; raises UserError if there are too few."""
    done = 0
    while done < len(into):
      count = os.preadv(self._file.fileno(), [into[done:]], offset + done)
      if not count:
        raise UserError(f'{self.path}: ends at byte {offset + done:,}; was the file cut short?')
      done += count

  def content(self, offset: int, length: int) -> bytes:
    """Returns `length` bytes from `offset` on."""
    found = bytearray(length)
    self.read(memoryview(found), offset)
    return bytes(found)


@dataclasses.dataclass(frozen=True, eq=False)
class PackedImages:
  """Images in a pack, see `images.Images`.

  Attributes:
    blob: the file of the pixels.
    form: 'raw' or 'jpeg'.
    each: shape of an image, (H, W, C).
    offset: int64 [N], place of the first byte of each image.
    length: int64 [N], bytes of each image.
    row: int64 [N], row of each image in the pack.
  """

  blob: Blob
  form: str
  each: tuple[int, int, int]
  offset: np.ndarray
  length: np.ndarray
  row: np.ndarray
  resident = False

  @property
  def shape(self) -> tuple[int, ...]:
    return (len(self.offset), *self.each)

  def __len__(self) -> int:
    return len(self.offset)

  def take(self, rows: np.ndarray) -> np.ndarray:
    offset, length = self.offset[rows], self.length[rows]
    out = np.empty((len(offset), *self.each), np.uint8)
    if self.form == 'jpeg':
      for image, first, count in zip(out, offset.tolist(), length.tolist()):
        image[...] = self._jpeg(first, count)
      return out
    gaps = np.flatnonzero(offset[1:] != offset[:-1] + length[:-1]) + 1
    for run in np.split(np.arange(len(offset)), gaps) if len(offset) else ():  # images side by side are read at once
      into: Any = out[run[0] : run[-1] + 1]
      self.blob.read(memoryview(into).cast('B'), int(offset[run[0]]))
    return out

  def _jpeg(self, offset: int, length: int) -> np.ndarray:
    content = self.blob.content(offset, length)
    with reading.reading(self.blob.path, 'a pack', f'The image at byte {offset:,} is damaged; pack the data again.'):
      return jpeg.decoded(content, self.each[2]).reshape(self.each)

  def select(self, rows: np.ndarray) -> 'PackedImages':
    return dataclasses.replace(self, offset=self.offset[rows], length=self.length[rows], row=self.row[rows])

  def sums(self, rows: np.ndarray) -> np.ndarray:
    """Returns the sums of the pixels of some rows and of their squares, per channel, int64 [2, C]; reads no image.

    Those of a JPEG pack are of the pixels before they were encoded.
    """
    names = sum_columns(self.each[2])
    found = columns(self.blob.path.parent, [*names[0], *names[1]])
    return np.array([[found[name][self.row[rows]].sum() for name in kind] for kind in names])

  def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    return np.asarray(self.take(np.arange(len(self))), dtype)


def is_pack(path: str | Path) -> bool:
  """Returns whether a path leads to a pack, finished or not."""
  folder = reading.path_of(path)
  return bool(str(path)) and any(reading.kind(folder / name) == 'file' for name in (FACTS, JOURNAL))


def facts(folder: Path) -> dict[str, Any]:
  """Returns the content of pack.json.

  Raises:
    UserError: there is no pack, it is unfinished, or `pixels.bin` has another length than it had.
  """
  if not (folder / FACTS).exists():
    if (folder / JOURNAL).exists():
      raise UserError(f'{folder}: the pack is not finished; the command that began it continues it.')
    raise UserError(f'data.path: there is no pack {str(folder)!r}; expected a folder that `pack` wrote.')
  found = formats.read_json(formats.PACK, folder / FACTS)
  there = (folder / PIXELS).stat().st_size if (folder / PIXELS).exists() else 0
  if there != found['bytes']:
    raise UserError(
      f'{folder / PIXELS}: has {there:,} bytes; expected {found["bytes"]:,}. Copy the pack again, or pack the data '
      'again with --rerun.'
    )
  return found


def images(folder: Path, found: dict[str, Any]) -> PackedImages:
  """Returns the images of a pack whose pack.json holds `found`.

  Raises:
    UserError: a file that names, labels or places the images was edited or damaged.
  """
  for name, written in found['labels'].items():
    if storage.sha256(folder / name) != written:
      raise UserError(
        f'{folder / name}: is not the file that was packed. Copy the pack again, or pack the data again with --rerun; '
        'other labels belong in a label table (data.table).'
      )
  place = columns(folder, ('offset', 'length'))
  height, width, channels = found['shape']
  each, rows = (height, width, channels), np.arange(found['rows'])
  return PackedImages(Blob(folder / PIXELS), found['form'], each, place['offset'], place['length'], rows)


def sum_columns(channels: int) -> tuple[list[str], list[str]]:
  """Returns the names of the columns that hold the sums of an image's pixels, and of their squares, per channel."""
  return [f'sum_{c}' for c in range(channels)], [f'squares_{c}' for c in range(channels)]


def columns(folder: Path, names: Sequence[str], file: str = ROWS) -> dict[str, np.ndarray]:
  """Returns columns of a pack's Parquet file by name; texts as `TEXT`. They are read in parts, to save memory."""
  import pyarrow as pa

  with parquet.opened(folder / file) as found:
    schema, count = found.schema_arrow, found.metadata.num_rows
    text = {name: pa.types.is_string(schema.field(name).type) for name in names}
    kind = {name: TEXT if text[name] else schema.field(name).type.to_pandas_dtype() for name in names}
    out = {name: np.empty(count, kind[name]) for name in names}
    start = 0
    for batch in found.iter_batches(batch_size=2**16, columns=list(names), use_threads=False):
      for name in names:
        out[name][start : start + len(batch)] = batch[name].to_numpy(zero_copy_only=False)
      start += len(batch)
  return out


def write_columns(folder: Path, values: dict[str, np.ndarray], file: str = ROWS) -> None:
  """Writes a pack's Parquet file."""
  parquet.write(folder / file, values)
