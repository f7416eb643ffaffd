"""Every kind of source is packed: the pack holds what the source itself gives, and a run on it has the same numbers."""

import dataclasses
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

import runs
import tiny_tfds
from noisyjax.data import dataset, files, origin, pack, packed, row_ids, split
from noisyjax.system.errors import UserError

ARRAYS = runs.arrays()
PARTS = {
  'train': range(runs.TRAIN),
  'validation': range(runs.TRAIN, runs.TRAIN + runs.VAL),
  'test': range(runs.TRAIN + runs.VAL, runs.TRAIN + runs.VAL + runs.TEST),
}
UNLABELED = 5  # a row of the training part


def png(row: int) -> bytes:
  content = io.BytesIO()
  Image.fromarray(ARRAYS['images'][row, ..., 0]).save(content, 'png')
  return content.getvalue()


def given(row: int) -> int:
  return -1 if row == UNLABELED else int(ARRAYS['labels'][row])


def splits(*more: str) -> dict:
  """Returns the parts as tables of Hugging Face's `datasets`; `more` are classes without rows."""
  datasets = pytest.importorskip('datasets')
  datasets.disable_progress_bars()
  kinds = datasets.Features(
    {'image': datasets.Image(), 'label': datasets.ClassLabel(names=['bee', 'ant', 'cat', *more])}  # in no usual order
  )
  return {
    part: datasets.Dataset.from_dict(
      {'image': [{'path': f'{i}.png', 'bytes': png(i)} for i in rows], 'label': [given(i) for i in rows]}, kinds
    )
    for part, rows in PARTS.items()
  }


def arrow(tmp: Path) -> dict:
  found = splits()
  whole = pytest.importorskip('datasets').DatasetDict(found)
  whole.save_to_disk(str(tmp / 'data'), num_shards={'train': 3, 'validation': 1, 'test': 2})
  return {'source': 'huggingface', 'val': 'source', 'test': 'source', 'test_labels': 'given'}


def parquet(tmp: Path) -> dict:
  """With a class of which there is no row, which a note says."""
  (tmp / 'data' / 'data').mkdir(parents=True)
  for part, table in splits('dog').items():
    table.to_parquet(str(tmp / 'data' / 'data' / f'{part}-00000-of-00001.parquet'), batch_size=25)
  return {'source': 'huggingface', 'val': 'source', 'test': 'source', 'test_labels': 'given'}


def webdataset(tmp: Path) -> dict:
  (tmp / 'data').mkdir()
  for part, rows in PARTS.items():
    for shard, some in enumerate(np.array_split(rows, 2)):
      with tarfile.open(tmp / 'data' / f'bugs-{part}-{shard:06d}.tar', 'w') as archive:
        for i in some.tolist():
          for suffix, content in {'png': png(i), 'cls': str(given(i)).encode()}.items():
            if suffix == 'png' or i != UNLABELED:
              info = tarfile.TarInfo(f'{i:04d}.{suffix}')
              info.size = len(content)
              archive.addfile(info, io.BytesIO(content))
  return {'source': 'webdataset', 'val': 'source', 'test': 'source', 'test_labels': 'given'}


def array_record(tmp: Path) -> dict:
  """Its labels are true ones, so that noise is added and some rows are trusted."""

  def examples(part: str):
    return lambda: ({'id': f'{part}_{i}', 'image': png(i), 'label': int(ARRAYS['true'][i])} for i in PARTS[part])

  parts = {part: examples(part) for part in PARTS}
  tiny_tfds.prepare(tmp / 'data', 'bugs', '1.0.0', ARRAYS['images'].shape[1:], list(runs.CLASSES), parts)
  return {'source': 'tfds', 'name': 'bugs', 'val': 'source', 'test': 'source'}


def tfrecord(tmp: Path) -> dict:
  (tmp / 'prepared').mkdir()
  fields = array_record(tmp / 'prepared')
  tiny_tfds.as_tfrecord(tmp / 'prepared' / 'data', tmp / 'data')
  return fields


def zipped(tmp: Path) -> dict:
  """Images in a zip beside files of given, verified and true labels."""
  with zipfile.ZipFile(tmp / 'data', 'w') as archive:
    for i in range(len(ARRAYS['images'])):
      archive.writestr(f'photos/{i:04d}.png', png(i))
  for name in ('labels', 'verified', 'true'):
    lines = [f'{i:04d}.png,{runs.CLASSES[c] if c >= 0 else ""}' for i, c in enumerate(ARRAYS[name])]
    (tmp / f'{name}.csv').write_text('\n'.join(['image,label', *lines]))
  tables = {field: str(tmp / f'{field}.csv') for field in ('labels', 'verified')}
  return {'source': 'images', 'truth': str(tmp / 'true.csv'), 'val': '0.2', 'test': '0.2', **tables}


def folders(tmp: Path) -> dict:
  """A tar of class folders, which names its files only when it is read."""
  with tarfile.open(tmp / 'data', 'w:gz') as archive:
    for i in range(len(ARRAYS['images'])):
      info = tarfile.TarInfo(f'{runs.CLASSES[ARRAYS["labels"][i]]}/{i:04d}.png')
      info.size = len(content := png(i))
      archive.addfile(info, io.BytesIO(content))
  return {'source': 'folders', 'val': '0.2', 'test': '0.2', 'test_labels': 'given'}


KINDS = [arrow, parquet, webdataset, array_record, tfrecord, zipped, folders]
TRAINED = [arrow, array_record, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (webdataset, zipped))]


def recipes(kind: Callable[[Path], dict], tmp: Path) -> tuple:
  """Writes a data set, packs it, and returns the recipe of a run on it, and the same one on the pack."""
  noise = {'noise__rate': 0.3} if kind is array_record else {'noise__kind': 'none', 'data__trusted': 0.0}
  fields = {f'data__{field}': value for field, value in {'train': ':', **kind(tmp)}.items()}
  plain = runs.recipe(data__path=str(tmp / 'data'), data__cache=False, epochs=2, **fields, **noise)
  pack.pack(plain.data, tmp / 'pack')
  ours = plain.copy_and_resolve_references()
  ours.data.path = str(tmp / 'pack')  # where it led to the data; all else stays
  return plain, ours


@pytest.mark.parametrize('kind', KINDS)
def test_a_pack_holds_what_its_source_gives(kind, tmp_path):
  plain, ours = recipes(kind, tmp_path)
  alone = ours.copy_and_resolve_references()
  alone.data.source, alone.data.name = 'packed', ''
  (data, truth), *packs = (dataset.load(config.data) for config in (plain, ours, alone))
  assert {image.tobytes() for image in data.images} == {image.tobytes() for image in ARRAYS['images']}
  for pack_, true in packs:
    assert pack_.pack and isinstance(pack_.images, packed.PackedImages)
    assert_array_equal(np.asarray(pack_.images), data.images)
    assert_array_equal(true, truth)
    for field in ('given', 'verified', 'test', 'val'):
      assert_array_equal(getattr(pack_, field), getattr(data, field), field)
    for field in ('ids', 'names'):
      assert getattr(pack_, field).tolist() == getattr(data, field).tolist()
    for field in ('classes', 'fingerprint', 'notes', 'pretrained'):
      assert getattr(pack_, field) == getattr(data, field)
    rows = np.arange(len(data.given))
    assert origin.of_rows(pack_, rows) == origin.of_rows(data, rows)
    assert row_ids.row_ids(pack_).tolist() == row_ids.row_ids(data).tolist()
    for one, other in zip(
      *(dataclasses.astuple(split.split(*found, plain.data)) for found in ((data, truth), (pack_, true)))
    ):
      assert_array_equal(one, other)


@pytest.mark.parametrize('kind', TRAINED)
def test_a_run_on_a_pack_has_the_numbers_of_its_source(kind, tmp_path, monkeypatch):
  found = []
  for name, config in zip(('plain', 'ours'), recipes(kind, tmp_path)):
    runs.fit(config, tmp_path / name, monkeypatch)
    found.append(runs.outputs(tmp_path / name))
    for mark in ('fingerprint', 'pixels'):  # which say that it is a pack, as do the notes of samples.parquet
      found[-1]['result']['data'].pop(mark, None)
    del found[-1]['notes']
    found[-1]['audit'] = runs.lines(tmp_path / name, 'audit.jsonl')
  assert found[0]['audit'] and len(found[0]['metrics']) > 1
  runs.assert_same(*found)


@pytest.mark.parametrize('kind, source', [(arrow, 'huggingface'), (webdataset, 'webdataset')])
def test_where_files_are_expected_the_source_of_records_is_named(kind, source, tmp_path):
  kind(tmp_path)
  said = rf'contains no images .*data\.source={source} reads them; `find` and `predict` read the pack'
  with pytest.raises(UserError, match=said), files.open_images(tmp_path / 'data'):
    pass
