"""Tiny data sets of TFDS for tests, prepared without TensorFlow."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def prepare(
  folder: Path,
  called: str,
  version: str,
  shape: tuple[int, int, int],
  classes: list[str],
  parts: dict[str, Callable[[], Iterator[dict]]],
) -> Path:
  """Prepares a data set in array_record files, and returns the folder, TFDS' `data_dir`.

  Args:
    folder: where to.
    called: its name.
    version: its version.
    shape: shape of an image.
    classes: names of the classes.
    parts: functions that yield the examples of each split: id, image (an encoded file) and label.
  """
  tfds = pytest.importorskip('tensorflow_datasets')

  with tfds.core.registered.skip_registration():  # a known name is read by TFDS' own class, another one from its files

    class Tiny(tfds.core.GeneratorBasedBuilder):
      name = called
      VERSION = tfds.core.Version(version)

      def _info(self):
        features = dict(
          id=tfds.features.Text(),
          image=tfds.features.Image(shape=shape),
          label=tfds.features.ClassLabel(names=classes),
        )
        return tfds.core.DatasetInfo(
          builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=('image', 'label')
        )

      def _split_generators(self, dl_manager):
        del dl_manager
        return {part: enumerate(examples()) for part, examples in parts.items()}

      def _generate_examples(self):
        raise NotImplementedError

  Tiny(data_dir=folder, file_format='array_record').download_and_prepare()
  return folder


def as_tfrecord(prepared: Path, target: Path) -> Path:
  """Writes a prepared data set as TFRecords, the form of most that are prepared; returns the folder.

  TFDS itself reads these with TensorFlow only.
  """
  from array_record.python.array_record_data_source import ArrayRecordDataSource

  for file in prepared.rglob('*.*'):
    place = target / file.relative_to(prepared)
    if not file.is_file():
      continue
    place.parent.mkdir(parents=True, exist_ok=True)
    if 'array_record' not in file.name:
      place.write_text(file.read_text().replace('array_record', 'tfrecord'))
      continue
    records = ArrayRecordDataSource(str(file))
    framed = (
      struct.pack('<Q4x', len(record)) + record + b'\0' * 4 for record in map(records.__getitem__, range(len(records)))
    )
    (place.parent / file.name.replace('array_record', 'tfrecord')).write_bytes(b''.join(framed))
  return target
