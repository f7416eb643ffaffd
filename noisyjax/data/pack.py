"""Writes packs (see `data.packed`): any source, decoded and resized once, without all images in memory.

The source runs as in training; `decode.stored_by` passes its images to a `Writer`, which appends them to `pixels.bin`.
A journal has a line for each block of images that lies on disk. The same command therefore continues after a kill: it
cuts `pixels.bin` to the end of the last block and decodes the remaining images only.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm
from ml_collections import ConfigDict

from noisyjax.data import dataset, decode, jpeg, packed
from noisyjax.data.decode import One
from noisyjax.system import formats, lock, progress, reading, storage, threads
from noisyjax.system.errors import UserError, check_choice
from noisyjax.system.log import log

BLOCK = 2**24  # bytes of pixels per block of the journal, at most; and
BLOCK_ROWS = 1000  # images per block, at most
# Fields of `config.data` that determine the content of a pack.
SHAPING = (
  'source',
  'path',
  'name',
  'labels',
  'verified',
  'truth',
  'image_column',
  'label_column',
  'unlisted',
  'classes',
  'unlabeled',
  'size',
  'fit',
  'channels',
  'skip_bad',
)


def pack(config: ConfigDict, out: str | Path, size: int = 0, form: str = 'raw', rerun: bool = False) -> dict[str, Any]:
  """Writes a pack of the data set that `config` (`config.data`) describes, or keeps it if it is finished.

  Args:
    config: fields of the data.
    out: folder of the pack; created if missing.
    size: side of the images in pixels; 0: `config.size`.
    form: 'raw', uint8 pixels, or 'jpeg', files of quality 95.
    rerun: whether a pack of other data or settings is replaced.

  Returns:
    The content of pack.json.

  Raises:
    UserError: the data are invalid, the disk is full, or the folder holds a pack of other data.
  """
  check_choice('--form', form, packed.FORMS)
  if packed.is_pack(config.path):
    raise UserError(f'data.path: {config.path} is a pack already; expected what it was made of.')
  config = config.copy_and_resolve_references()
  config.features, config.cache = '', False
  config.size = size or config.size
  if config.size and config.fit == 'exact':
    config.fit = 'crop'
  made_of = {field: config[field] for field in SHAPING}
  folder = Path(out)
  if config.path and reading.path_of(config.path).resolve() == folder.resolve():
    raise UserError(f'--out: {out} is the folder of the data; expected another one, so that both can be read.')
  key = formats.digest(json.loads(storage.json_text({'made_of': made_of, 'form': form, 'decoder': decode.decoder()})))
  with lock.held(folder):
    if (folder / packed.FACTS).exists() and not rerun:
      found = packed.facts(folder)
      if found['key'] != key:
        raise UserError(f'{folder}: holds a pack of other data or settings. Use another folder, or --rerun.')
      log.info('%s: already packed; --rerun packs it again.', folder)
      return found
    writer = Writer(folder, form, key, rerun)
    with decode.stored_by(writer.store):
      data, truth = dataset.load(config)
    return writer.finish(data, truth, made_of)


@dataclasses.dataclass
class _Written:
  """What lies in `pixels.bin`.

  Attributes:
    results: a `One` without pixels for each image, or the reason why it is left out.
    length: bytes of each image; 0 for those left out.
    blocks: sha256 of each block.
    sums: sums of the pixels of each image and of their squares, per channel [2, C]; [] for those left out.
    low: smallest value of a pixel.
    high: largest value of a pixel.
  """

  results: list[One | str] = dataclasses.field(default_factory=list)
  length: list[int] = dataclasses.field(default_factory=list)
  blocks: list[str] = dataclasses.field(default_factory=list)
  sums: list[list[list[int]]] = dataclasses.field(default_factory=list)
  low: int = 255
  high: int = 0

  def add(self, line: dict[str, Any]) -> None:
    """Adds a block by its line in the journal."""
    for row in line['rows']:
      one = row if isinstance(row, str) else One(np.zeros(0, np.uint8), row[0], tuple(row[1]), *row[2:6])
      self.results.append(one)
      self.length.append(0 if isinstance(row, str) else row[6])
      self.sums.append([] if isinstance(row, str) else row[7])
    self.blocks.append(line['sha256'])
    self.low, self.high = min(self.low, line['low']), max(self.high, line['high'])


class _Item(NamedTuple):
  """An image that is about to be written, see `_Written`, or the reason why it is left out."""

  result: One | str
  content: bytes
  low: int
  high: int
  sums: list[list[int]]

  def row(self) -> str | list[Any]:
    """Returns the entry of the journal, which `_Written.add` reads."""
    one = self.result
    if isinstance(one, str):
      return one
    return [one.digest, one.size, one.several, one.format, one.gray, one.file, len(self.content), self.sums]


class Writer:
  """Writes the images of one source in a folder.

  Args:
    folder: folder of the pack.
    form: 'raw' or 'jpeg'.
    key: digest of the settings.
    rerun: whether an unfinished pack of other data is replaced.
  """

  def __init__(self, folder: Path, form: str, key: str, rerun: bool) -> None:
    self._folder, self._form, self._key, self._rerun = folder, form, key, rerun
    self._pixels, self._journal = folder / packed.PIXELS, folder / packed.JOURNAL
    self._each: Any = ()  # shape of the first image
    self._written: _Written | None = None

  def store(
    self, names: Sequence[str], one: Callable[[int], One | str], stamp: str
  ) -> tuple[packed.PackedImages, list[One | str]]:
    """Writes images, see `decode.Store`.

    Raises:
      UserError: images differ in shape, the disk is full, or the folder holds an unfinished pack of other data.
    """
    if self._written is not None:
      raise UserError(
        'data.source: decodes its images in several calls; expected one call, so that they can be packed.'
      )
    listing = hashlib.sha256('\n'.join([self._key, stamp, *names]).encode()).hexdigest()
    self._written = written = self._begin(listing)
    start, begun = len(written.results), time.monotonic()
    if start:
      log.info('%s: continues after %d of %d images.', self._folder, start, len(names))
    said = progress.Lines()
    found = threads.ahead(lambda i: self._encoded(one(i)), range(start, len(names)))
    bar = tqdm.tqdm(found, 'pack', len(names), initial=start, unit=' images', disable=None, delay=1)
    try:
      with self._pixels.open('ab') as pixels:
        block = []
        for i, item in enumerate(bar, start):
          block.append(self._checked(names, i, item))
          full = len(block) == BLOCK_ROWS or sum(len(item.content) for item in block) >= BLOCK
          if not full and i < len(names) - 1:
            continue
          if not written.results:
            self._check_room(block, len(names))
          written.add(self._append(pixels, block))
          block, done = [], i + 1
          left = (time.monotonic() - begun) / (done - start) * (len(names) - done)
          said.say(f'pack: {done:,} of {len(names):,} images', f'{progress.duration(left)} left' if left else '')
    except OSError as error:
      raise UserError(f'{self._pixels}: cannot write this file: {error.strerror or error}.') from error
    decode.check_any(names, written.results)
    length = np.array([n for n, result in zip(written.length, written.results) if isinstance(result, One)], np.int64)
    offset = np.cumsum(length) - length
    blob, rows = packed.Blob(self._pixels), np.arange(len(length))
    return packed.PackedImages(blob, self._form, self._each, offset, length, rows), written.results

  def _begin(self, listing: str) -> _Written:
    """Returns what an interrupted call has written, and cuts off what the journal does not know."""
    written = _Written()
    storage.remove(self._folder / packed.FACTS)  # first: without it, the pack is unfinished
    self._log = storage.JsonLines(self._journal)  # removes the incomplete last line that a kill may have left
    lines = storage.read_lines(self._journal) if self._journal.exists() else []
    with reading.reading(self._journal, 'the journal of a pack', 'Remove the folder, and pack the data again.'):
      known = lines[0]['listing'] if lines else None
      for line in lines[1:] if known == listing else ():
        written.add(line)
        self._each = tuple(line['shape'])
      end = sum(written.length)
    if known not in (None, listing) and not self._rerun:
      raise UserError(
        f'{self._folder}: holds an unfinished pack of other images or settings. Use another folder, or --rerun.'
      )
    if known != listing:
      storage.remove(self._journal)
      storage.remove(self._pixels)
      self._pixels.touch()
      self._log.append({'listing': listing})
      return written
    self._pixels.touch()
    if self._pixels.stat().st_size < end:
      raise UserError(f'{self._pixels}: is shorter than its journal says; remove the folder, and pack the data again.')
    os.truncate(self._pixels, end)
    return written

  def _encoded(self, result: One | str) -> '_Item':
    """Returns a result with the content to write."""
    if isinstance(result, str):
      return _Item(result, b'', 255, 0, [])
    image = result.image
    pixels = image.reshape(-1, image.shape[-1]).astype(np.uint32)
    sums = [pixels.sum(0, np.int64).tolist(), (pixels * pixels).sum(0, np.int64).tolist()]
    content = jpeg.encoded(image) if self._form == 'jpeg' else image.tobytes()
    return _Item(result, content, int(image.min()), int(image.max()), sums)

  def _checked(self, names: Sequence[str], i: int, item: '_Item') -> '_Item':
    """Returns an item without its pixels; raises UserError if the image has another shape than the first one."""
    result = item.result
    if isinstance(result, str):
      return item
    self._each = self._each or result.image.shape
    if result.image.shape != self._each:
      height, width = result.image.shape[:2]
      raise UserError(
        f'{names[i]}: is {width}x{height}, but the first image is {self._each[1]}x{self._each[0]}. A pack has images '
        'of one size; choose it by --size, and data.fit=crop or pad.'
      )
    return item._replace(result=result._replace(image=np.zeros(0, np.uint8)))

  def _check_room(self, block: list['_Item'], count: int) -> None:
    """Raises UserError if the disk has less room than all images take, judged by the first block."""
    needed = sum(len(item.content) for item in block) / len(block) * count
    free = shutil.disk_usage(self._folder).free
    if needed > free:
      raise UserError(
        f'{self._folder}: the pack takes about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Use another '
        'disk, a smaller --size, or --form=jpeg.'
      )

  def _append(self, pixels: Any, block: list['_Item']) -> dict[str, Any]:
    """Writes a block and its line in the journal, and returns the line."""
    content = b''.join(item.content for item in block)
    pixels.write(content)
    pixels.flush()
    os.fsync(pixels.fileno())  # the journal may only tell what is on disk
    line = {
      'rows': [item.row() for item in block],
      'shape': self._each,
      'sha256': hashlib.sha256(content).hexdigest(),
      'low': min(item.low for item in block),
      'high': max(item.high for item in block),
    }
    self._log.append(line)
    return line

  def finish(self, data: dataset.Dataset, truth: np.ndarray, made_of: dict[str, Any]) -> dict[str, Any]:
    """Writes the labels of the images and, last, pack.json; returns its content.

    Args:
      data: what the source returned; its images are those of this pack, or an array that is written now.
      truth: true labels, int32 [N].
      made_of: fields of `config.data`, stored as they are.
    """
    images = data.images
    if isinstance(images, np.ndarray):
      if images.dtype != np.uint8:
        raise UserError(f'data.source: {made_of["source"]!r} has features; expected images to pack.')
      ids = data.ids.tolist()
      one = lambda i: One(images[i], ids[i], images.shape[1:3], False, 'arrays', images.shape[-1] == 1, '')
      images, _ = self.store(data.names.tolist(), one, data.fingerprint)
    written = self._written
    assert written is not None
    made = [result for result in written.results if isinstance(result, One)]
    sums = np.array([found for found in written.sums if found], np.int64)[images.row]  # [N, 2, C]
    named = zip(packed.sum_columns(images.each[2]), (0, 1))
    own = [made[i] for i in images.row]
    part = np.where(data.test, packed.PARTS.index('test'), np.where(data.val, packed.PARTS.index('val'), 0))
    packed.write_columns(
      self._folder,
      {
        'offset': images.offset,
        'length': images.length,
        'id': data.ids,
        'name': data.names,
        'given': data.given,
        'verified': data.verified,
        'part': part.astype(np.int8),
        'side': np.array([min(one.size) for one in own], np.int32),
        'format': np.array([one.format for one in own]),
        'gray': np.array([one.gray for one in own]),
        'file': np.array([one.file for one in own]),
        **{name: sums[:, kind, c] for names, kind in named for c, name in enumerate(names)},
      },
    )
    packed.write_columns(self._folder, {'true': np.asarray(truth, np.int32)}, packed.AUDIT)
    flat = decode.plausible(np.array([written.low, written.high], np.uint8), 'images')
    facts = {
      'rows': len(images),
      'shape': images.each,
      'form': self._form,
      'decoder': decode.decoder(),
      'filter': decode.FILTER,
      'bytes': sum(written.length),
      'content': hashlib.sha256(' '.join(written.blocks).encode()).hexdigest(),
      'key': self._key,
      'made_of': made_of,
      'files': bool(data.root),
      'classes': data.classes,
      'notes': [*data.notes, *flat],
      'labels': {name: storage.sha256(self._folder / name) for name in (packed.ROWS, packed.AUDIT)},
    }
    formats.write_json(formats.PACK, self._folder / packed.FACTS, facts)
    storage.remove(self._journal)
    return packed.facts(self._folder)
