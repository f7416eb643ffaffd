"""Training rows on disk, so that another process can train on them: pixels.bin, rows.npz and rows.json in a folder."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import packed
from noisyjax.data.training import TrainData
from noisyjax.system import formats, storage

PIXELS, ROWS, FACTS = 'pixels.bin', 'rows.npz', 'rows.json'
COLUMNS = ('given', 'verified', 'weight', 'status')


def write(folder: Path, data: TrainData) -> str:
  """Writes the rows to a folder; of images in a pack, only where they are.

  Returns:
    A digest of the rows, with their pixels or the identity of their pack.
  """
  columns = {name: getattr(data, name) for name in COLUMNS}
  facts: dict[str, Any] = {'classes': data.classes, 'features': data.features}
  if isinstance(data.images, packed.PackedImages):
    pack = data.images.blob.path.parent.resolve()
    columns['row'] = data.images.row
    facts |= {'pack': str(pack), 'packed': storage.sha256(pack / packed.FACTS)}
  else:
    pixels = np.ascontiguousarray(data.images)
    content = pixels.data.cast('B')
    storage.write_bytes(folder / PIXELS, content)
    facts |= {'shape': pixels.shape, 'dtype': pixels.dtype.str, 'pixels': hashlib.sha256(content).hexdigest()}
  storage.write_npz(folder / ROWS, columns)
  facts['columns'] = {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in columns.items()}
  formats.write_json(formats.FIND, folder / FACTS, facts)
  return formats.digest(facts)


def read(folder: Path) -> TrainData:
  """Returns the rows that `write` left.

  Raises:
    UserError: a file is missing or damaged, or the pack is gone.
  """
  facts, columns = formats.read_json(formats.FIND, folder / FACTS), storage.read_npz(folder / ROWS)
  if 'pack' in facts:
    pack = Path(facts['pack'])
    images = packed.images(pack, packed.facts(pack)).select(columns.pop('row'))
  else:
    images = np.frombuffer(storage.read_bytes(folder / PIXELS), facts['dtype']).reshape(facts['shape'])
  return TrainData(images, classes=facts['classes'], features=facts['features'], **columns)
