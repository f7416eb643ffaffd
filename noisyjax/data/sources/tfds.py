"""A data set of TensorFlow Datasets by name (`cifar10`, `cifar100`, `mnist`, …), read without TensorFlow.

TFDS prepares a data set on disk once; `config.path` is its `data_dir` ('' = `~/tensorflow_datasets`). Preparing most
image data sets needs a network connection, and TensorFlow to encode the images. Reading needs neither: array_record
files are read through the random access of TFDS, and TFRecord files, for which TFDS itself needs TensorFlow, through
their framing (length as uint64, checksum, record, checksum).

Rows are the train split in the order of TFDS, then the validation and the test split, as far as there are any, which
`Dataset.val` and `Dataset.test` mark. The name of a row is its TFDS id, if it has one (`train_16399` is row 16399 of
the python version of CIFAR).
"""

import functools
import hashlib
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import cache, dataset, decode, origin, packed
from noisyjax.system import reading
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

PARTS = ('train', 'validation', 'test')  # splits that are read, in the order of the rows


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the TFDS data set `config.name`; its labels are both the given and the true labels.

  Returns:
    The data set, and the true labels, int32 [N].

  Raises:
    UserError: TFDS does not know the data set, the data set is not prepared and cannot be prepared, or it does not have
      images with labels.
  """
  import tensorflow_datasets as tfds  # imported here, because it takes a third of a second

  if not config.name:
    raise UserError('data.name is empty; expected the TFDS name of a data set, such as cifar10.')
  builder = _builder(tfds, config.name, config.path)
  if not builder.is_prepared():
    _prepare(builder, config.name)
  image_key, label_key = _keys(tfds, builder)
  parts = [part for part in PARTS if part in builder.info.splits]
  if 'train' not in parts:
    raise UserError(f'TFDS {config.name}: has the splits {", ".join(builder.info.splits)}; expected a split train.')
  channels = builder.info.features[image_key].shape[-1]
  channels = channels if channels in (1, 3) else config.channels
  stamp = _stamp(builder, parts)
  read = functools.partial(_read, builder, parts, image_key, label_key, config.size, config.fit, channels, stamp)
  identity = ('tfds', str(builder.data_path), config.size, config.fit, channels)
  arrays = cache.cached(identity, stamp, read, config.cache, valid=lambda arrays: 'part' in arrays)
  left_out = decode.check_bad(arrays['bad'].tolist(), config.skip_bad, f'TFDS {config.name}')
  made = dataset.make(
    arrays['images'],
    arrays['labels'],
    tuple(config.classes) or tuple(builder.info.features[label_key].names),
    names=arrays['names'].astype(str).tolist(),
    test=arrays['part'] == 'test',
    val=arrays['part'] == 'validation',
    digests=arrays['digests'].astype('U64'),
    notes=[*arrays['notes'].tolist(), *left_out],
  )
  return made, made.given.copy()


def _builder(tfds: Any, name: str, path: str) -> Any:
  """Returns the TFDS builder of a data set; raises UserError if TFDS does not know it."""
  try:
    return tfds.builder(name, **({'data_dir': str(reading.path_of(path, 'data.path'))} if path else {}))
  except Exception as error:  # TFDS raises many types of exceptions, with long texts; the first line tells the reason
    raise UserError(f'data.name: TFDS cannot find {name!r}: {str(error).splitlines()[0]}') from error


def _prepare(builder: Any, name: str) -> None:
  """Downloads and prepares a data set, and logs that it does."""
  log.warning('TFDS %s is not prepared in %s; downloading and preparing it there.', name, builder.data_path)
  try:
    builder.download_and_prepare(file_format='array_record')
  except Exception as error:  # a missing network, missing TensorFlow and a full disk raise different types
    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
    raise UserError(
      f'TFDS {name}: is not prepared in {builder.data_path} and cannot be prepared here ({reason}). Prepare it on a '
      f'machine with network and TensorFlow, `tfds build {name} --file_format=array_record --data_dir=FOLDER`, copy '
      'FOLDER and set data.path to it.'
    ) from error


def _keys(tfds: Any, builder: Any) -> tuple[str, str]:
  """Returns the names of the features that hold the image and its class."""
  features = dict(builder.info.features.items())
  keys = builder.info.supervised_keys
  image, label = keys if keys and len(keys) == 2 and all(isinstance(key, str) for key in keys) else ('image', 'label')
  kinds = [features.get(key) for key in (image, label)]
  if not isinstance(kinds[0], tfds.features.Image) or not isinstance(kinds[1], tfds.features.ClassLabel):
    raise UserError(
      f'TFDS {builder.name}: has the features {", ".join(features)}; expected an image and a class label. Choose '
      'another data.name.'
    )
  return image, label


def _stamp(builder: Any, parts: list[str]) -> str:
  """Returns a digest of names, sizes and modification times of the prepared files."""
  stats = [(str(p), Path(p).stat()) for part in parts for p in builder.info.splits[part].filepaths]
  return hashlib.sha256(repr([(path, s.st_size, s.st_mtime_ns) for path, s in stats]).encode()).hexdigest()


def _read(
  builder: Any, parts: list[str], image_key: str, label_key: str, size: int, fit: str, channels: int, stamp: str
) -> dict[str, np.ndarray]:
  """Decodes the splits `parts` and returns the arrays that the cache keeps."""
  places, labels, names, parts_of = [], [], [], []
  for part in parts:
    count, read = _examples(builder, part, image_key)
    for row in range(count):  # images are read again when they are decoded, so that a pack needs no memory for them
      example = read(row)
      places.append((read, row))
      labels.append(example[label_key])
      names.append(example['id'].decode() if isinstance(example.get('id'), bytes) else f'{part}_{row:05d}')
      parts_of.append(part)

  def image(i: int) -> bytes:
    read, row = places[i]
    return read(row)[image_key]

  size = size or origin.usual_side(image, range(len(places)), fit)
  decoded = decode.decode_all(names, image, size, fit, channels, stamp)
  return {
    'images': decoded.images,
    'digests': decoded.digests.astype('S64'),
    'labels': np.array(labels, np.int32)[decoded.good],
    'names': np.array(names)[decoded.good],
    'part': np.array(parts_of)[decoded.good],
    'bad': np.array(decoded.bad, dtype='U'),
    'notes': np.array(decoded.notes, dtype='U'),
  }


def _examples(builder: Any, part: str, image_key: str) -> tuple[int, Callable[[int], dict]]:
  """Returns the number of examples of a split, and a function that reads one of them, with its image encoded."""
  import tensorflow_datasets as tfds

  encoded = {image_key: tfds.decode.SkipDecoding()}
  if builder.info.file_format.value != 'tfrecord':
    source, one_at_a_time = builder.as_data_source(split=part, decoders=encoded), threading.Lock()

    def example(row: int) -> dict:
      with one_at_a_time:
        return source[row]

    return len(source), example
  records, opened = [], functools.lru_cache(packed.OPEN)(packed.Blob)
  for path in map(Path, builder.info.splits[part].filepaths):
    end, place = path.stat().st_size, 0
    while place < end:
      (length,) = struct.unpack('<Q4x', opened(path).content(place, 12))
      records.append((path, place + 12, length))
      place += 12 + length + 4
  feature = builder.info.features

  def record(row: int) -> dict:
    path, offset, length = records[row]
    return feature.deserialize_example_np(opened(path).content(offset, length), decoders=encoded)

  return len(records), record
