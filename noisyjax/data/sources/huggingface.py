"""A data set of Hugging Face on disk: what `save_to_disk` writes (Arrow), or its Parquet files as they are published.

`config.path` is a folder with files `*.arrow` or `*.parquet` (also in its subfolders), or one such file. They have a
column of images, each `bytes` with a `path`, and a column of labels: `config.image_column` and `config.label_column`,
or those that the features in the files declare (`Image`, `ClassLabel`), or those of a usual name (image, label, …). The
part is told by the path of a file: `data/test-00000-of-00001.parquet` holds test rows.

`datasets` itself is not needed. Images are read when they are decoded: Arrow files are memory-mapped, and of Parquet
files the row groups that are being decoded are in memory.
"""

import functools
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import column_names, dataset, files, part_names, records
from noisyjax.data.column import label_text
from noisyjax.data.table import class_labels
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

SUFFIXES = ('.arrow', '.parquet')


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the files in `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: there are no such files, or they lack a column of images or of labels.
  """
  path = reading.path_of(config.path, 'data.path')
  inside = path.rglob('*') if reading.kind(path) == 'folder' else [reading.file_of(path, 'data.path')]
  # `save_to_disk` of a split that was filtered or shuffled leaves caches of the form cache-….arrow beside its data.
  paths = sorted(p for p in inside if p.suffix in SUFFIXES and not p.name.startswith('cache-'))
  if not paths:
    raise UserError(f'data.path: {path} holds no file *.arrow or *.parquet; expected a data set of Hugging Face.')
  found, groups, places, stamps, notes, classes = [], [], [], [], {}, ()
  for file in paths:
    name, stat = file.relative_to(path).as_posix() if file != path else file.name, file.stat()
    files.check_name(name, path)
    stamps.append(f'{name} {stat.st_size} {stat.st_mtime_ns}')
    with reading.reading(file, 'Arrow or Parquet'):
      schema, parts, read = (_arrow if file.suffix == '.arrow' else _parquet)(file)
      image, label, others = _columns(schema, config, file)
      if others:
        notes[f'Columns {listed([label, *others])} hold labels: {label} is read (data.label_column names another).'] = 0
      names = class_labels(schema).get(label, ())
      classes = classes or tuple(names)
      row = 0
      for part in range(parts):
        labels = read(part, label).to_pylist()
        groups.append(functools.partial(read, part, image))
        for i, value in enumerate(labels):
          text = label_text(value, str(file), f'row {row + i} (from 0)')
          if names and isinstance(value, int) and value != -1:
            if not 0 <= value < len(names):
              raise UserError(
                f'{file}: row {row + i} (from 0) has the label {value}; expected a number of a class, '
                f'0..{len(names) - 1} for {listed(names)}, or -1.'
              )
            text = names[value]
          found.append(records.Record(f'{name}/{row + i}', text, part_names.part_in(name)))
          places.append((len(groups) - 1, i))
        row += len(labels)
  cached = functools.lru_cache(maxsize=4)(lambda group: groups[group]())  # rows are decoded in order
  one_at_a_time = threading.Lock()  # else all threads that wait for a row group would read it

  def column(group: int) -> Any:
    with one_at_a_time:
      return cached(group)

  stamp = hashlib.sha256('\n'.join(stamps).encode()).hexdigest()
  return records.load(
    str(path), found, lambda i: _content(column(places[i][0])[places[i][1]]), classes, stamp, config, [*notes]
  )


Read = Callable[[int, str], Any]  # (number of a part of a file, name of a column) → a pyarrow array


def _arrow(path: Path) -> tuple[Any, int, Read]:
  """Returns the schema of an Arrow file, the number of its batches, and a function that reads a column of one."""
  import pyarrow as pa

  mapped = pa.memory_map(str(path))
  try:
    table = pa.ipc.open_stream(mapped).read_all()
  except pa.ArrowInvalid:
    table = pa.ipc.open_file(mapped).read_all()
  batches = table.to_batches()
  return table.schema, len(batches), lambda part, name: batches[part][name]


def _parquet(path: Path) -> tuple[Any, int, Read]:
  """Returns the schema of a Parquet file, the number of its row groups, and a function that reads a column of one."""
  import pyarrow.parquet as pq

  def read(part: int, name: str) -> Any:
    with pq.ParquetFile(path, pre_buffer=False) as file:  # one for each call, because threads call it
      return file.read_row_group(part, columns=[name], use_threads=False)[name].combine_chunks()

  with pq.ParquetFile(path, pre_buffer=False) as file:
    return file.schema_arrow, file.num_row_groups, read


def _columns(schema: Any, config: ConfigDict, path: Path) -> tuple[str, str, list[str]]:
  """Returns the names of the columns of images and labels, and of others that are declared to hold labels."""
  declared: dict[str, Any] = {}
  if b'huggingface' in (schema.metadata or {}):
    declared = json.loads(schema.metadata[b'huggingface']).get('info', {}).get('features', {})
  of_type = lambda kind: [name for name, found in declared.items() if found.get('_type') == kind]
  usual = lambda known: column_names.preferred(schema.names, known)
  images = [config.image_column] if config.image_column else of_type('Image') + usual(column_names.IMAGES)
  labels = [config.label_column] if config.label_column else of_type('ClassLabel') + usual(column_names.GIVEN)
  for what, names in (('image', images), ('label', labels)):
    if not names or names[0] not in schema.names:
      asked = f' {names[0]!r}' if names else ''
      raise UserError(
        f'{path}: has no {what} column{asked}; its columns are {listed(schema.names)}. Set data.{what}_column.'
      )
  others = [] if config.label_column else [name for name in of_type('ClassLabel') if name != labels[0]]
  return images[0], labels[0], others


def _content(cell: Any) -> bytes:
  """Returns the encoded image in a cell."""
  value = cell.as_py()
  content = value.get('bytes') if isinstance(value, dict) else value
  if not isinstance(content, bytes):
    raise ValueError('the file holds the path of the image and not its bytes')
  return content
