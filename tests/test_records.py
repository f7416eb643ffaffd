"""Data sets of records on disk, as Hugging Face and WebDataset have them: labels and parts of any kind."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from noisyjax.config import defaults
from noisyjax.data import dataset, part_names
from noisyjax.system.errors import UserError


def png(i: int) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(np.random.default_rng(i).integers(0, 256, (6, 6, 3), np.uint8)).save(buffer, 'png')
  return buffer.getvalue()


def load(source: str, path, **fields) -> dataset.Dataset:
  config = defaults.get_config().data
  for name, value in {'source': source, 'path': str(path), **fields}.items():
    config[name] = value
  return dataset.load(config)[0]


def parquet(path, labels: dict[str, list], classes: dict[str, list[str]], part: str = 'train'):
  """Writes a file of Hugging Face: `labels` by column, and the names of the classes that a column declares."""
  count = len(next(iter(labels.values())))
  table = pa.table({'image': [{'bytes': png(i), 'path': f'{i}.png'} for i in range(count)], **labels})
  declared = {name: {'names': names, '_type': 'ClassLabel'} for name, names in classes.items()}
  facts = {'info': {'features': {'image': {'_type': 'Image'}} | declared}}
  pq.write_table(
    table.replace_schema_metadata({'huggingface': json.dumps(facts)}), path / f'{part}-00000-of-00001.parquet'
  )
  return path


@pytest.mark.parametrize(
  ('values', 'classes', 'given'),
  [
    ([0, 1, -1, None], ['owl', 'fox'], [0, 1, -1, -1]),
    ([0, 1, 2, 1], ['1', '10', '2'], [0, 1, 2, 1]),  # folders called by numbers, sorted as text
    ([False, True, True, None], ['0', '1'], [0, 1, 1, -1]),
    ([[0], [1], [1], [0]], ['0', '1'], [0, 1, 1, 0]),
    ([1.0, 0.0, None, 1.0], ['0', '1'], [1, 0, -1, 1]),
  ],
)
def test_labels_of_hugging_face(tmp_path, values, classes, given):
  numbers = not isinstance(values[0], bool | list | float)
  data = load('huggingface', parquet(tmp_path, {'label': values}, {'label': classes} if numbers else {}))
  assert data.classes == tuple(classes) and data.given.tolist() == given


def test_mistakes_in_labels_of_hugging_face(tmp_path):
  with pytest.raises(
    UserError, match=r'row 2 \(from 0\) has the label 2; expected a number of a class, 0..1 for owl, f'
  ):
    load('huggingface', parquet(tmp_path, {'label': [0, 1, 2]}, {'label': ['owl', 'fox']}))
  with pytest.raises(UserError, match=r'row 1 \(from 0\) holds \[0, 1\]; expected one label per image'):
    load('huggingface', parquet(tmp_path, {'label': [[0], [0, 1]]}, {}))


def test_several_columns_of_labels_are_noted(tmp_path):
  columns = {'fine_label': [0, 1, 2] * 2, 'coarse_label': [0, 0, 1] * 2}
  parquet(tmp_path, columns, {'fine_label': ['a', 'b', 'c'], 'coarse_label': ['x', 'y']})
  data = load('huggingface', tmp_path)
  assert data.classes == ('a', 'b', 'c') and len(data.notes) == 1
  assert data.notes[0].startswith('Columns fine_label, coarse_label hold labels: fine_label is read')
  data = load('huggingface', tmp_path, label_column='coarse_label')
  assert data.classes == ('x', 'y') and data.notes == ()


@pytest.mark.parametrize(
  ('path', 'part'),
  [
    ('data/train-00000-of-00002.parquet', 'train'),
    ('shards/imagenet-val-{0..9}.tar', 'val'),
    ('dev/0001.tar', 'val'),
    ('my_eval-000.tar', 'test'),
    ('test/train-1.tar', 'train'),
    ('device-1.tar', 'train'),
    ('latest.tar', 'train'),
  ],
)
def test_the_part_of_a_file_is_in_its_path(path, part):
  assert part_names.part_in(path) == part


def test_a_label_in_the_json_of_a_sample_may_be_a_list_of_one(tmp_path):
  with tarfile.open(tmp_path / 'dev-0.tar', 'w') as archive:
    for i, label in enumerate((['owl'], 'fox', None)):
      for name, content in ((f'{i}.png', png(i)), (f'{i}.json', json.dumps({'label': label}).encode())):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
  data = load('webdataset', tmp_path)
  assert data.classes == ('fox', 'owl') and data.given.tolist() == [1, 0, -1] and data.val.all()
