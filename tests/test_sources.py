"""Every source: the right rows with the right labels, and one clear message for each kind of bad input."""

import io
import os
import pickle
import re
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import tiny_tfds
from noisyjax.data import dataset, decode, files
from noisyjax.system.errors import UserError

REAL = Path(os.environ.get('NOISYJAX_DATA', ''))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def load(**fields) -> tuple[dataset.Dataset, np.ndarray]:
  defaults = dict(
    features='',
    source='images',
    path='',
    name='',
    labels='noisy_labels.csv',
    verified='',
    truth='',
    classes=(),
    unlabeled='undefined',
    size=0,
    fit='exact',
    channels=3,
    skip_bad=False,
    cache=True,
    image_column='',
    label_column='',
    unlisted='unlabeled',
  )
  assert set(fields) <= set(defaults)
  return dataset.load(ConfigDict(defaults | {k: str(v) if isinstance(v, Path) else v for k, v in fields.items()}))


def picture(i: int, height: int = 6, width: int = 6) -> np.ndarray:
  """Returns a random image, different for each row."""
  return np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)


def png(i: int, height: int = 6, width: int = 6) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(picture(i, height, width)).save(buffer, 'png')
  return buffer.getvalue()


GIVEN, VERIFIED, TRUE = [2, 0, 1, 1, 0, 2, 1, 0], [2, 1, 0], [2, 1, 0, 1, 0, 2, 1, 2]


def seed_layout(root: Path, zipped: bool = False) -> Path:
  """8 images in the seed's layout: images/00001.png …, noisy_labels.csv, clean_labels.csv of the first 3."""
  root.mkdir()
  if zipped:
    with zipfile.ZipFile(root / 'images.zip', 'w') as archive:
      archive.mkdir('images')
      for i in reversed(range(8)):  # a zip has any order
        archive.writestr(f'images/{i + 1:05d}.png', png(i))
  else:
    (root / 'images').mkdir()
    for i in reversed(range(8)):
      (root / 'images' / f'{i + 1:05d}.png').write_bytes(png(i))
  for file, labels in (('noisy_labels.csv', GIVEN), ('clean_labels.csv', VERIFIED)):
    (root / file).write_text(''.join(f'{label}\n' for label in labels))
  np.save(root / 'true_labels.npy', np.array(TRUE, np.uint8))
  return root


def named(root: Path, labels: dict[str, str], file: str = 'labels.csv') -> Path:
  """A folder of images (numbered pictures) with an image,label CSV."""
  (root / 'photos').mkdir(parents=True, exist_ok=True)
  for i, name in enumerate(labels):
    (root / 'photos' / name).write_bytes(png(i))
  (root / file).write_text('image,label\n' + ''.join(f'{k},{v}\n' for k, v in labels.items()))
  return root


# The seed's layout.


@pytest.mark.parametrize('zipped', [False, True])
def test_seed_layout_pairs_each_image_with_its_labels(tmp_path, zipped):
  data, truth = load(path=seed_layout(tmp_path / 'd', zipped), verified='clean_labels.csv', truth='true_labels.npy')
  np.testing.assert_array_equal(data.images, [picture(i) for i in range(8)])
  assert data.names.tolist() == [f'{i:05d}.png' for i in range(1, 9)]
  assert (data.given.tolist(), data.given.dtype) == (GIVEN, np.int32)
  assert data.verified.tolist() == VERIFIED + [-1] * 5  # the first rows, never the last ones
  assert truth.tolist() == TRUE
  assert data.classes == ('0', '1', '2')
  assert data.ids.tolist() == [decode.digest(picture(i)) for i in range(8)]
  assert not data.test.any()


def test_folder_and_zip_are_one_data_set(tmp_path):
  a, _ = load(path=seed_layout(tmp_path / 'a'))
  b, _ = load(path=seed_layout(tmp_path / 'b', zipped=True))
  assert a.fingerprint == b.fingerprint


def test_path_may_be_the_images_themselves(tmp_path):
  root = seed_layout(tmp_path / 'd', zipped=True)
  want, _ = load(path=root)
  beside, _ = load(path=root / 'images.zip')
  elsewhere, _ = load(path=root / 'images.zip', labels=root / 'noisy_labels.csv')
  assert want.fingerprint == beside.fingerprint == elsewhere.fingerprint


def test_the_truth_names_no_class_and_reaches_no_output(tmp_path):
  root = seed_layout(tmp_path / 'd')
  plain, truth = load(path=root)
  assert (truth == -1).all()
  np.save(root / 'true_labels.npy', np.array(TRUE)[::-1])
  poisoned, _ = load(path=root, truth='true_labels.npy')
  assert plain.fingerprint == poisoned.fingerprint
  np.save(root / 'true_labels.npy', np.array(TRUE) + 5)
  with pytest.raises(UserError, match=r"true_labels.npy: row 0 \(from 0\): '7'.*a class of 0, 1, 2"):
    load(path=root, truth='true_labels.npy')


@pytest.mark.parametrize(
  ('file', 'labels', 'message'),
  [
    ('noisy_labels.csv', GIVEN[:-1], 'has 7 labels for the 8 images'),
    ('noisy_labels.csv', GIVEN + [0], 'has 9 labels for the 8 images'),
    ('noisy_labels.csv', GIVEN[:4] + ['x'] + GIVEN[5:], "row 5 is the name 'x', and .*row 1 the number '2'"),
    ('noisy_labels.csv', GIVEN[:4] + [1.5] + GIVEN[5:], "row 5: '1.5'; expected an integer"),
    ('noisy_labels.csv', GIVEN[:4] + [-7] + GIVEN[5:], "row 5: '-7'"),
    ('noisy_labels.csv', [1] * 8, "All labels are '1': one class only"),
    ('noisy_labels.csv', [0] * 8, "All labels are '0': one class only"),
    ('noisy_labels.csv', [-1] * 8, 'All 8 rows are unlabeled'),
    ('clean_labels.csv', [0] * 9, 'has 9 labels for the 8 images.*at most one row'),
  ],
)
def test_bad_labels_of_the_seed_layout(tmp_path, file, labels, message):
  root = seed_layout(tmp_path / 'd')
  (root / file).write_text('\n'.join(map(str, labels)))
  verified = 'clean_labels.csv' if file == 'clean_labels.csv' else ''
  with pytest.raises(UserError, match=message) as caught:
    load(path=root, verified=verified)
  if 'row 5' in message or 'has ' in message:
    assert str(root / file) in str(caught.value)


def test_declared_classes_check_the_labels(tmp_path):
  root = seed_layout(tmp_path / 'd')
  assert load(path=root, classes=('cat', 'dog', 'owl'))[0].classes == ('cat', 'dog', 'owl')
  with pytest.raises(UserError, match=r"noisy_labels.csv: row 1: '2', row 6: '2'; expected a position in 0..1"):
    load(path=root, classes=('cat', 'dog'))
  assert '1 of 4 classes have no row: yak.' in load(path=root, classes=('cat', 'dog', 'owl', 'yak'))[0].notes
  with pytest.raises(UserError, match='every name once'):
    load(path=root, classes=('cat', 'dog', 'cat'))


def test_bad_images_are_listed_at_once_or_left_out_with_their_labels(tmp_path):
  root = seed_layout(tmp_path / 'd')
  (root / 'images' / '00002.png').write_bytes(png(1)[:-40])  # truncated
  (root / 'images' / '00005.png').write_bytes(b'corrupt')
  (root / 'images' / '00007.png').unlink()  # missing: the gap in the numbers shows which
  fields = dict(path=root, verified='clean_labels.csv', truth='true_labels.npy')
  for _ in range(2):
    with pytest.raises(UserError, match=r'3 image\(s\) missing or unreadable') as caught:
      load(**fields)
    for name, reason in (('00002', 'truncated'), ('00005', 'no image'), ('00007', 'missing')):
      assert re.search(f'\n  {name}.png: .*{reason}', str(caught.value))
  rows = [0, 2, 3, 5, 7]
  data, truth = load(**fields, skip_bad=True)
  np.testing.assert_array_equal(data.images, [picture(i) for i in rows])
  assert data.given.tolist() == [GIVEN[i] for i in rows]
  assert data.verified.tolist() == [2, 0, -1, -1, -1]
  assert truth.tolist() == [TRUE[i] for i in rows]
  assert any('left out 3 bad image(s)' in note and '00007' in note for note in data.notes)
  with pytest.raises(UserError, match='3 image'):
    load(**fields)  # what skip_bad left in the cache does not hide them


def test_a_missing_image_at_the_end_cannot_be_told_and_is_refused(tmp_path):
  """1..7 of 8 may lack 0 or 8: guessing would pair every image with its neighbour's label."""
  root = seed_layout(tmp_path / 'd')
  (root / 'images' / '00008.png').unlink()
  with pytest.raises(UserError, match='has 8 labels for the 7 images'):
    load(path=root, skip_bad=True)


def test_no_image_can_be_read(tmp_path):
  root = seed_layout(tmp_path / 'd')
  for file in (root / 'images').iterdir():
    file.write_bytes(b'')
  with pytest.raises(UserError, match='None of the images can be read'):
    load(path=root, skip_bad=True)


def test_rows_without_names_need_an_order_that_has_one_meaning(tmp_path):
  (tmp_path / 'images').mkdir()
  for i in range(1, 12):
    (tmp_path / 'images' / f'{i}.png').write_bytes(png(i))
  (tmp_path / 'noisy_labels.csv').write_text('0\n1\n' * 5 + '0\n')
  with pytest.raises(UserError, match=r"as text or by number differs \(position 1: '10.png' or '2.png'\)"):
    load(path=tmp_path)


def test_hidden_files_and_others_are_skipped_and_counted(tmp_path):
  root = seed_layout(tmp_path / 'd', zipped=True)
  clean, _ = load(path=root)
  with zipfile.ZipFile(root / 'images.zip', 'a') as archive:
    for name in ('.DS_Store', '__MACOSX/images/._00001.png', 'images/._00002.png', 'images/readme.txt', 'labels.csv'):
      archive.writestr(name, b'x')
  data, _ = load(path=root)
  assert data.fingerprint == clean.fingerprint
  assert data.notes == (
    'images.zip: skipped 3 hidden file(s).',
    'images.zip: skipped 2 file(s) that are not images (.csv: 1, .txt: 1).',
  )


def test_nothing_there(tmp_path):
  with pytest.raises(UserError, match=r'data.path is empty'):
    load()
  with pytest.raises(UserError, match=r"data.path: there is no folder or zip '.*absent'"):
    load(path=tmp_path / 'absent')
  (tmp_path / 'noisy_labels.csv').write_text('0\n')
  with pytest.raises(UserError, match=r'contains no images \(1 file\(s\) that are not images \(\.csv: 1\)\)'):
    load(path=tmp_path)
  root = seed_layout(tmp_path / 'd')
  with pytest.raises(UserError, match=r"data.verified: there is no file 'nope.csv'.*data.verified='' if there is none"):
    load(path=root, verified='nope.csv')
  (tmp_path / 'photos.zip').touch()
  with pytest.raises(UserError, match=r"no folder or zip '.*/fotos.zip'\. Did you mean '.*/photos.zip'\?"):
    load(path=tmp_path / 'fotos.zip')
  with pytest.raises(
    UserError, match=r"no file 'noisy_lables.csv' in .* or here\. Did you mean '.*/noisy_labels.csv'\?"
  ):
    load(path=root, labels='noisy_lables.csv')
  (root / 'cut.zip').write_bytes(b'PK\x03\x04 and then nothing')
  with pytest.raises(UserError, match=r'cut\.zip: cannot be read as a zip .*Is the file complete'):
    load(path=root / 'cut.zip')


def test_a_damaged_zip_member_is_a_bad_image(tmp_path):
  root = seed_layout(tmp_path / 'd', zipped=True)
  data = bytearray((root / 'images.zip').read_bytes())
  at = data.find(png(3)[-60:])
  data[at] ^= 255  # the checksum in the directory no longer fits
  (root / 'images.zip').write_bytes(data)
  with pytest.raises(UserError, match=r'(?s)1 image\(s\).*00004.png: .*CRC'):
    load(path=root)


# image,label tables.


def test_named_labels_follow_the_images_not_the_file(tmp_path):
  labels = {'z.png': 'muffin', 'b.png': 'undefined', 'm.png': 'dog', 'a.png': 'muffin'}
  data, _ = load(path=named(tmp_path, labels) / 'photos', labels=tmp_path / 'labels.csv')
  assert data.names.tolist() == ['a.png', 'b.png', 'm.png', 'z.png']
  assert data.classes == ('dog', 'muffin')
  assert data.given.tolist() == [1, -1, 0, 1]
  np.testing.assert_array_equal(data.images, [picture(list(labels).index(name)) for name in data.names])


def test_named_labels_may_be_numbers_and_reordered(tmp_path):
  root = named(tmp_path, {'c.png': '1', 'a.png': '0', 'b.png': '-1'})
  (tmp_path / 'checked.csv').write_text('label,who,image\n1,ann,photos/b.png\n')  # any order of columns, a path
  data, _ = load(path=root / 'photos', labels=root / 'labels.csv', verified=root / 'checked.csv')
  assert (data.given.tolist(), data.verified.tolist(), data.classes) == ([0, -1, 1], [-1, 1, -1], ('0', '1'))
  swapped, _ = load(path=root / 'photos', labels=root / 'labels.csv', classes=('no', 'yes'))
  assert (swapped.given.tolist(), swapped.classes) == ([0, -1, 1], ('no', 'yes'))


def test_another_word_for_unlabeled(tmp_path):
  root = named(tmp_path, {'a.png': 'cat', 'b.png': 'dog', 'c.png': '?'})
  fields = dict(path=root / 'photos', labels=root / 'labels.csv')
  assert load(**fields, unlabeled='?')[0].given.tolist() == [0, 1, -1]
  assert load(**fields)[0].classes == ('?', 'cat', 'dog')
  with pytest.raises(UserError, match=r"row 4: '\?'; expected a class of cat, dog, or 'undefined'"):
    load(**fields, classes=('cat', 'dog'))


def test_mistakes_in_named_labels(tmp_path):
  root = named(tmp_path, {'a.png': 'cat', 'b.png': 'dog', 'c.png': 'cat'})
  fields = dict(path=root / 'photos', labels=root / 'labels.csv', classes=('cat', 'dog'))
  table = root / 'labels.csv'

  table.write_text('image,label\na.png,cat\nb.png,dgo\nc.png,cat\n')
  with pytest.raises(UserError, match=r"labels.csv: row 3: 'dgo'; .*did you mean 'dog'"):
    load(**fields)
  table.write_text('image,label\na.png,cat\nb.png,dog\nb.png,cat\nc.png,cat\n')
  with pytest.raises(UserError, match=r"row 3 \('dog'\) and row 4 \('cat'\) both label the image b.png"):
    load(**fields)
  table.write_text('image,label\na.png,cat\nb.png,dog\nb.png,dog\n')
  data, _ = load(**fields)
  assert data.given.tolist() == [0, 1, -1]
  notes = '\n'.join(data.notes)
  assert '1 rows repeat another, the first is row 4' in notes
  assert "1 of 3 images have no row, the first is 'c.png'; they count as unlabeled" in notes
  assert load(**fields, unlisted='skip')[0].names.tolist() == ['a.png', 'b.png']
  with pytest.raises(UserError, match=r"1 of 3 images have no row, the first is 'c.png'; expected a row for each"):
    load(**fields, unlisted='refuse')
  with pytest.raises(UserError, match=r"data.unlisted: unknown value 'drop'"):
    load(**fields, unlisted='drop')
  table.write_text('image,label\na.png,cat\nb.png\nc.png,cat\n')
  with pytest.raises(UserError, match=r"row 3: 'b.png'; expected 2 fields"):
    load(**fields)


def test_images_that_a_table_names_but_nobody_has(tmp_path):
  labels = {'a.png': 'cat', 'b.png': 'dog', 'c.png': 'cat', 'd.png': 'dog'}
  root = named(tmp_path, labels)
  (root / 'photos' / 'b.png').unlink()
  (root / 'photos' / 'c.png').write_bytes(b'no image')
  fields = dict(path=root / 'photos', labels=root / 'labels.csv')
  with pytest.raises(UserError, match=r'(?s)1 image\(s\).*\n  c.png: no image'):
    load(**fields)
  data, _ = load(**fields, skip_bad=True)
  assert (data.names.tolist(), data.given.tolist()) == (['a.png', 'd.png'], [0, 1])
  assert any(
    '1 of 4 rows names an image that is not in' in n and "the first is row 3: 'b.png'" in n for n in data.notes
  )


def test_sizes(tmp_path):
  root = named(tmp_path, {'a.png': 'cat', 'b.png': 'dog', 'c.png': 'cat'})
  (root / 'photos' / 'b.png').write_bytes(png(1, 12, 18))
  fields = dict(path=root / 'photos', labels=root / 'labels.csv')
  with pytest.raises(UserError, match=r'1 of 3 images are not 6x6, which most images have.*data.fit=crop'):
    load(**fields)
  with pytest.raises(UserError, match=r'1 of 3 images are not 6x6, which data.size=6 and data.fit=exact ask for'):
    load(**fields, size=6)
  for fit in ('crop', 'pad'):
    data, _ = load(**fields, size=6, fit=fit)
    np.testing.assert_array_equal(data.images[0], picture(0))
    assert data.ids[1] == decode.digest(picture(1, 12, 18))  # before the resize
    assert data.images[1, 0].any() == (fit == 'crop')  # the border of `pad` is black
  assert load(**fields, size=6, fit='pad', channels=1)[0].images.shape == (3, 6, 6, 1)
  for fit in ('crop', 'pad'):  # without a size: the median short side
    assert load(**fields, fit=fit)[0].images.shape == (3, 6, 6, 3)


# The cache, through a source.


@pytest.mark.parametrize('zipped', [False, True])
def test_a_changed_image_is_noticed(tmp_path, monkeypatch, zipped):
  root = seed_layout(tmp_path / 'd', zipped)
  first, _ = load(path=root)
  reads = []
  honest = decode.decode_all
  monkeypatch.setattr(decode, 'decode_all', lambda *a, **k: reads.append(1) or honest(*a, **k))
  again, _ = load(path=root)
  assert not reads
  assert again.fingerprint == first.fingerprint
  np.testing.assert_array_equal(again.images, first.images)

  if zipped:
    with zipfile.ZipFile(root / 'images.zip', 'w') as archive:
      for i in range(8):
        archive.writestr(f'images/{i + 1:05d}.png', png(100 if i == 4 else i))
  else:
    (root / 'images' / '00005.png').write_bytes(png(100))
  changed, _ = load(path=root)
  assert len(reads) == 1
  np.testing.assert_array_equal(changed.images[4], picture(100))
  np.testing.assert_array_equal(changed.images[5], picture(5))

  # Labels are read anew each time: they are no part of the cache.
  (root / 'noisy_labels.csv').write_text('\n'.join(map(str, GIVEN[::-1])))
  assert load(path=root)[0].given.tolist() == GIVEN[::-1]
  assert len(reads) == 1
  load(path=root, cache=False)
  assert len(reads) == 2


# Class folders.


def tree(root: Path, names: list[str]) -> Path:
  for i, name in enumerate(names):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(png(i))
  return root


NAMES = ['dog/1.png', 'dog/deep/er.png', 'undefined/7.png', 'cat/1.png', 'cat/.hidden.png']


@pytest.mark.parametrize('zipped', [False, True])
def test_class_folders(tmp_path, zipped):
  root = tree(tmp_path / 'tree', NAMES)
  if zipped:
    with zipfile.ZipFile(tmp_path / 'tree.zip', 'w') as archive:
      for name in NAMES:
        archive.write(root / name, f'tree/{name}')
    root = tmp_path / 'tree.zip'
  data, truth = load(source='folders', path=root)
  assert data.names.tolist() == ['cat/1.png', 'dog/1.png', 'dog/deep/er.png', 'undefined/7.png']
  assert data.classes == ('cat', 'dog')
  assert data.given.tolist() == [0, 1, 1, -1]
  assert (truth == -1).all()
  np.testing.assert_array_equal(data.images, [picture(i) for i in (3, 0, 1, 2)])
  assert load(source='folders', path=root, classes=('dog', 'cat'))[0].given.tolist() == [1, 0, 0, -1]
  (tmp_path / 'truth.csv').write_text('image,label\nundefined/7.png,cat\ncat/1.png,dog\n')
  _, truth = load(source='folders', path=root, truth=tmp_path / 'truth.csv')
  assert truth.tolist() == [1, -1, -1, 0]


def test_label_files_that_class_folders_do_not_read_are_noted(tmp_path):
  root = tree(tmp_path / 'tree', ['cat/1.png', 'dog/2.png'])
  (tmp_path / 'labels.csv').write_text('image,label\ncat/1.png,dog\ndog/2.png,cat\n')
  data, _ = load(source='folders', path=root, labels='labels.csv', verified='absent.csv')
  assert data.given.tolist() == [0, 1]
  assert data.notes[0].startswith('data.labels: labels.csv is ignored') and 'absent' not in str(data.notes)


def test_the_current_folder_is_called_by_its_name(tmp_path, monkeypatch):
  monkeypatch.chdir(named(tmp_path / 'mine', {'1.png': 'a', '2.png': 'b'}))
  data, _ = load(path='.', labels='labels.csv', verified='')
  assert data.notes[0] == 'mine: skipped 1 file(s) that are not images (.csv: 1).'


def test_class_folders_with_a_test_part(tmp_path):
  root = tree(tmp_path, ['test/a/1.png', 'test/b/2.png', 'train/a/3.png', 'train/undefined/4.png', 'train/b/5.png'])
  data, _ = load(source='folders', path=root)
  assert data.classes == ('a', 'b')
  assert data.given.tolist() == [0, 1, 0, 1, -1]
  assert data.test.tolist() == [True, True, False, False, False]


def test_mistakes_in_class_folders(tmp_path):
  root = tree(tmp_path / 't', [*NAMES, 'stray.png'])
  with pytest.raises(UserError, match=r'1 images lie outside the class folders: stray\.png'):
    load(source='folders', path=root)
  (root / 'stray.png').unlink()
  with pytest.raises(UserError, match=r"the folder 'dog' is not in data.classes; expected folders named cat, bird\."):
    load(source='folders', path=root, classes=('cat', 'bird'))
  (root / 'owl').mkdir()
  (root / 'owl' / '1.png').write_bytes(b'')
  with pytest.raises(UserError, match=r'(?s)1 image\(s\) missing or unreadable.*owl/1.png'):
    load(source='folders', path=root)
  assert load(source='folders', path=root, skip_bad=True)[0].classes == ('cat', 'dog')
  with pytest.raises(UserError, match="All labels are 'dog': one class only"):
    load(source='folders', path=tree(tmp_path / 'one', ['dog/1.png', 'undefined/2.png']))


# Arrays.


def test_digits():
  data, truth = load(source='digits')
  assert (data.images.shape, data.images.dtype) == ((1797, 8, 8, 1), np.uint8)
  assert (data.images.min(), data.images.max()) == (0, 255)
  np.testing.assert_array_equal(data.given, truth)
  assert np.bincount(truth).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI's own counts
  assert load(source='digits')[0].fingerprint == data.fingerprint
  assert load(source='digits', size=16, fit='pad')[0].images.shape == (1797, 16, 16, 1)
  with pytest.raises(UserError, match='1797 of 1797 images are not 16x16'):
    load(source='digits', size=16)


def save(path: Path, **arrays) -> Path:
  np.savez(path, **arrays)
  return path


def test_npz(tmp_path):
  images = np.stack([picture(i) for i in range(4)])
  full = dict(
    images=images,
    labels=[1, 0, -1, 1],
    verified=[0, -1, -1, -1],
    true=[0, 0, 1, 1],
    classes=['no', 'yes'],
    names=['a', 'b', 'c', 'd'],
    test=[False, False, True, True],
  )
  data, truth = load(source='npz', path=save(tmp_path / 'full.npz', **full))
  np.testing.assert_array_equal(data.images, images)
  assert data.given.tolist() == [1, 0, -1, 1]
  assert data.verified.tolist() == [0, -1, -1, -1]
  assert truth.tolist() == [0, 0, 1, 1]
  assert (data.classes, data.names.tolist(), data.test.tolist()) == (('no', 'yes'), list('abcd'), full['test'])
  least, truth = load(source='npz', path=save(tmp_path / 'least.npz', images=images[..., 0], labels=[1, 0, 1, 1]))
  assert least.images.shape == (4, 6, 6, 1)
  assert (least.classes, truth.tolist()) == (('0', '1'), [-1] * 4)


def test_npz_of_other_pixels_is_the_same_data_set(tmp_path):
  images, labels = np.stack([picture(i) for i in range(4)]), [1, 0, 1, 1]
  want, _ = load(source='npz', path=save(tmp_path / 'a.npz', images=images, labels=labels))
  for kind in (images.astype(np.int64), images.astype(np.float32), images.transpose(0, 3, 1, 2)):
    data, _ = load(source='npz', path=save(tmp_path / 'b.npz', images=kind, labels=labels))
    assert data.fingerprint == want.fingerprint
  assert 'read with channels last' in data.notes[0]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(labels=None), "has no key 'labels'; its keys are images"),
    (dict(labels=[0, 1]), r'labels: has 2 labels for 3 images'),
    (dict(labels=[0, 1, 2], classes=['a', 'b']), r"labels: row 2 \(from 0\): '2'; .*0..1"),
    (dict(labels=[0, 1, 0.5]), r"labels: row 2 \(from 0\): '0.5'"),
    (dict(labels=['a', 'b', 'c'], classes=['a', 'b']), r"labels: row 2 \(from 0\): 'c'; expected a class of a, b"),
    (dict(labels=[1, 2, 3], classes=['a', 'b', 'c']), r'they run from 1: subtract 1'),
    (dict(labels=np.full((3, 2), 0.5)), 'labels: has shape .* one-hot rows of 0 and 1'),
    (
      dict(labels=np.array([0, None, 1])),
      r'cannot be read as .npz \(it holds Python objects, .* names as array\.astype\(str\)\)\.$',
    ),
    (dict(labels=[-1, -1, -1]), 'All 3 rows are unlabeled'),
    (dict(labels=[0, 0, 0]), 'one class only'),
    (dict(verified=[0, 1]), 'verified: has 2 labels'),
    (dict(true=[0, 1, 2]), r"true: row 2 \(from 0\): '2'; .*a class of 0, 1"),
    (dict(names=['a']), 'names has shape'),
    (dict(images=np.full((3, 4, 4, 3), 0.5)), r'bad\.npz: images: floats in \[0.5, 0.5\]: they seem to be divided'),
    (dict(images=np.zeros((3, 4, 4, 2), np.uint8)), '1 or 3 channels'),
    (dict(images=np.zeros((0, 4, 4, 3), np.uint8)), 'there are no pixels'),
    (dict(images=np.array([None] * 3)), 'cannot be read as .npz'),
  ],
)
def test_bad_npz(tmp_path, change, message):
  good = dict(images=np.stack([picture(i) for i in range(3)]), labels=[0, 1, 1])
  arrays = {key: value for key, value in (good | change).items() if value is not None}
  with pytest.raises(UserError, match=message):
    load(source='npz', path=save(tmp_path / 'bad.npz', **arrays))


NPZ_LABELS = [1, 0, 2, 1]


@pytest.mark.parametrize(
  'labels',
  [
    np.uint8(NPZ_LABELS),
    np.int8(NPZ_LABELS),
    np.float32(NPZ_LABELS),
    np.array(NPZ_LABELS)[:, None],
    np.eye(3)[NPZ_LABELS],
    np.eye(3, dtype=bool)[NPZ_LABELS],
    np.array(list('bacb')),
    np.array([b'b', b'a', b'c', b'b']),
  ],
  ids=['uint8', 'int8', 'float', 'column', 'one-hot', 'bool one-hot', 'names', 'bytes'],
)
def test_npz_labels_of_any_kind(tmp_path, labels):
  images = np.stack([picture(i) for i in range(4)])
  assert load(source='npz', path=save(tmp_path / 'a.npz', images=images, labels=labels))[0].given.tolist() == NPZ_LABELS
  named = save(tmp_path / 'b.npz', images=images, labels=labels, classes=np.array([b'a', b'b', b'c']))
  data, _ = load(source='npz', path=named)
  assert (data.given.tolist(), data.classes) == (NPZ_LABELS, ('a', 'b', 'c'))


def test_npz_labels_that_are_bool_one_based_or_missing(tmp_path):
  images = np.stack([picture(i) for i in range(4)])
  at = lambda labels: load(source='npz', path=save(tmp_path / 'a.npz', images=images, labels=labels))[0]
  assert (at([True, False, True, True]).given.tolist(), at([1, 0, 1, 1]).classes) == ([1, 0, 1, 1], ('0', '1'))
  one = at([1, 2, 3, 2])
  assert (one.given.tolist(), one.classes) == ([0, 1, 2, 1], ('1', '2', '3'))
  assert any('are not 0..2 but 1, 2, 3' in note for note in one.notes)
  some = at([1, np.nan, 0, 0])
  assert some.given.tolist() == [1, -1, 0, 0]
  assert any('rows without a label: 1 of 4, the first is row 1 (from 0)' in n for n in some.notes)


@pytest.mark.parametrize(
  'form',
  [
    ('x_{}', 'y_{}', 'val'),
    ('X_{}', 'y_{}', 'valid'),
    ('{}_images', '{}_labels', 'val'),
    ('{}_x', '{}_y', 'validation'),
  ],
)
def test_npz_in_parts(tmp_path, form):
  images = np.stack([picture(i) for i in range(9)])
  rows = {'train': slice(0, 4), form[2]: slice(4, 6), 'test': slice(6, 9)}
  labels = np.arange(9) % 3
  arrays = {form[0].format(part): images[at] for part, at in rows.items()}
  arrays |= {form[1].format(part): labels[at, None] for part, at in rows.items()}
  data, _ = load(source='npz', path=save(tmp_path / 'a.npz', **arrays))
  np.testing.assert_array_equal(data.images, images)
  assert data.given.tolist() == labels.tolist()
  assert np.flatnonzero(data.val).tolist() == [4, 5] and np.flatnonzero(data.test).tolist() == [6, 7, 8]
  assert 'a.npz: train 4, val 2, test 3 rows.' in data.notes


def test_npz_that_is_a_pickle_is_never_loaded(tmp_path):
  (tmp_path / 'data_batch_1').write_bytes(pickle.dumps({b'data': np.zeros((2, 3072), np.uint8), b'labels': [0, 1]}))
  with pytest.raises(UserError, match=r'data_batch_1: is a pickle, like the batches of CIFAR.*data.source=cifar'):
    load(source='npz', path=tmp_path / 'data_batch_1')


def test_npz_that_is_none(tmp_path):
  with pytest.raises(UserError, match='there is no file'):
    load(source='npz', path=tmp_path / 'absent.npz')
  file = save(tmp_path / 'cut.npz', images=np.stack([picture(i) for i in range(3)]), labels=[0, 1, 1])
  file.write_bytes(file.read_bytes()[:200])
  with pytest.raises(UserError, match=r'cut.npz: cannot be read as .npz'):
    load(source='npz', path=file)
  np.save(tmp_path / 'one.npy', np.zeros(3))
  with pytest.raises(UserError, match=r'one.npy: is a single array'):
    load(source='npz', path=tmp_path / 'one.npy')


# TensorFlow Datasets, without TensorFlow.


def prepare(folder: Path) -> Path:
  """Writes what TFDS' own CIFAR-10 would: its name, version, features and order, with 20 + 6 pictures."""

  def examples(part, first, count):
    for i in range(count):
      yield {'id': f'{part}_{i:05d}', 'image': png(first + i, 32, 32), 'label': i % 10}

  parts = {'train': lambda: examples('train', 0, 20), 'test': lambda: examples('test', 100, 6)}
  return tiny_tfds.prepare(folder, 'cifar10', '3.0.2', (32, 32, 3), [f'class{c}' for c in range(10)], parts)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory) -> Path:
  return prepare(tmp_path_factory.mktemp('tfds'))


def check_cifar(data: dataset.Dataset, truth: np.ndarray) -> None:
  from tensorflow_datasets.core import hashing

  order = sorted(range(20), key=hashing.Hasher('train').hash_key)
  assert data.names[:20].tolist() == [f'train_{i:05d}' for i in order]
  assert data.given[:20].tolist() == [i % 10 for i in order]
  np.testing.assert_array_equal(data.images[:20], [picture(i, 32, 32) for i in order])
  assert data.test.tolist() == [False] * 20 + [True] * 6
  python_row = [int(name.split('_')[1]) for name in data.names[20:]]
  np.testing.assert_array_equal(data.images[20:], [picture(100 + i, 32, 32) for i in python_row])
  assert data.classes == tuple(f'class{c}' for c in range(10))
  np.testing.assert_array_equal(truth, data.given)


def test_tfds_by_name_in_its_own_order(prepared):
  for _ in range(2):  # the second time from the cache
    check_cifar(*load(source='tfds', name='cifar10', path=prepared))


def test_tfds_tfrecord_without_tensorflow(prepared, tmp_path):
  check_cifar(*load(source='tfds', name='cifar10', path=tiny_tfds.as_tfrecord(prepared, tmp_path)))
  assert 'tensorflow' not in sys.modules


def test_tfds_that_cannot_be_had(tmp_path, monkeypatch):
  tfds = pytest.importorskip('tensorflow_datasets')

  def offline(*_, **__):
    raise OSError('Network is unreachable')

  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', offline)
  with pytest.raises(UserError, match=r'(?s)mnist: is not prepared in .* prepared here \(Network is unreachable\)'):
    load(source='tfds', name='mnist', path=tmp_path)
  with pytest.raises(UserError, match=r"data.name: TFDS cannot find 'cifar11'"):
    load(source='tfds', name='cifar11', path=tmp_path)
  with pytest.raises(UserError, match=r'data.name is empty'):
    load(source='tfds')


# The real data.


def real(folder: str) -> Path:
  path = REAL / folder
  if not path.exists():
    pytest.skip(f'{path} is missing')
  return path


def test_photo_seed():
  path = real('chihuahua_muffin')
  fields = dict(path=path / 'train.zip', labels='train.csv', truth='truth.csv', size=16, fit='crop')
  data, truth = load(**fields)
  assert data.images.shape == (1582, 16, 16, 3)
  assert data.classes == ('chihuahua', 'muffin')
  assert np.bincount(data.given + 1).tolist() == [1382, 100, 100]
  assert np.bincount(truth[data.given < 0]).tolist() == [1242, 140]
  labeled = data.given >= 0
  np.testing.assert_array_equal(data.given[labeled], truth[labeled])


@pytest.mark.slow
def test_cifar_seed(tmp_path):
  """All 50,000 PNGs: under 60 s from the zip and under 3 s from the cache, on two free cores."""
  import time

  path = real('weak_supervision')
  fields = dict(path=path, verified='clean_labels.csv', truth='true_labels.npy')
  seconds = []
  for _ in range(2):
    start = time.process_time()  # of all threads, so that a busy machine cannot fail it
    data, truth = load(**fields)
    seconds.append(time.process_time() - start)
  assert seconds[0] < 60
  assert seconds[1] < 3
  assert data.images.shape == (50_000, 32, 32, 3)
  assert (data.given != truth).sum() == 30_312
  assert np.flatnonzero(data.verified >= 0).tolist() == list(range(10_000))
  np.testing.assert_array_equal(data.verified[:10_000], truth[:10_000])
  with files.open_images(path / 'images.zip') as found:
    np.testing.assert_array_equal(data.images[-1], decode.decode(found.read('50000.png')))


# What users really have.


def test_a_blank_label_is_no_class(tmp_path):
  root = named(tmp_path, {'a.png': 'dog', 'b.png': '', 'c.png': 'cat'})
  fields = {'path': root / 'photos', 'labels': root / 'labels.csv'}
  data, _ = load(**fields)  # as pandas writes what it does not know
  assert (data.classes, data.given.tolist()) == (('cat', 'dog'), [1, -1, 0])
  assert any('rows without a label: 1 of 3, the first is row 3' in note for note in data.notes)
  assert not any('no value' in note for note in load(**fields, unlabeled='')[0].notes)


def test_a_header_that_names_a_column_twice_is_refused(tmp_path):
  root = named(tmp_path, {'a.png': 'dog'})
  (root / 'labels.csv').write_text('image,label,label\na.png,dog,cat\n')
  with pytest.raises(UserError, match="row 1 has 2 columns 'label'; expected one"):
    load(path=root / 'photos', labels=root / 'labels.csv')


def test_a_row_for_a_missing_image_labels_no_other_of_that_name(tmp_path):
  root = tree(tmp_path / 'd', ['cat/1.png', 'cat/2.png', 'dog/2.png'])
  (tmp_path / 'labels.csv').write_text('image,label\ncat/2.png,cat\ndog/1.png,dog\ndog/2.png,dog\n')
  data, _ = load(path=root, labels=tmp_path / 'labels.csv')
  assert data.given.tolist() == [-1, 0, 1]
  assert any("row 3: 'dog/1.png'" in note for note in data.notes)


def test_letters_are_one_letter_however_they_are_written(tmp_path):
  one, two = 'caf\u00e9', 'cafe\u0301'
  root = named(tmp_path, {f'{two}.png': one, 'b.png': two, 'c.png': 'tea'})
  (root / 'labels.csv').write_text(f'image,label\n{one}.png,{one}\nb.png,{two}\nc.png,tea\n')
  data, _ = load(path=root / 'photos', labels=root / 'labels.csv')
  assert data.classes == (one, 'tea') and sorted(data.given.tolist()) == [0, 0, 1]
  root = tree(tmp_path / 'tree', [f'{two}/1.png', 'tea/2.png'])
  assert load(source='folders', path=root, classes=('tea', two))[0].classes == ('tea', one)
  (tmp_path / 'truth.csv').write_text(f'image,label\n{one}/1.png,{two}\n{two}x/2.png,tea\n')
  assert load(source='folders', path=root, truth=tmp_path / 'truth.csv')[1].tolist() == [0, -1]


@pytest.mark.parametrize(
  ('train', 'val', 'test'),
  [
    ('train', 'val', 'test'),
    ('Train', 'valid', 'Test'),
    ('Training', 'Validation', 'Testing'),
    ('seg_train/seg_train', 'seg_val', 'seg_test/seg_test'),
    ('photos/archive/train', 'photos/archive/val', 'photos/archive/test'),
    ('train_set', 'images_val', 'test-images'),
    ('train', 'dev', 'eval'),
    ('Training', 'Development', 'hold-out'),
    ('train_split', 'val_split', 'PublicTest'),
  ],
)
def test_parts_of_a_data_set_are_not_classes(tmp_path, train, val, test):
  root = tree(tmp_path / 't', [f'{part}/{name}/1.png' for part in (train, val, test) for name in ('cat', 'dog')])
  data, _ = load(source='folders', path=root)
  assert data.classes == ('cat', 'dog')
  part = lambda rows: {name.rpartition('/')[0].rpartition('/')[0] for name in data.names[rows]}
  assert (part(data.val), part(data.test), part(~data.val & ~data.test)) == ({val}, {test}, {train})
  assert data.given.tolist() == [0, 1] * 3
  assert any('its folders are parts of the data set' in note and '(2 images)' in note for note in data.notes)


def test_parts_without_class_folders_are_not_used(tmp_path):
  """As Kaggle gives them: the test images have no labels."""
  names = ['seg_train/cat/1.png', 'seg_train/dog/2.png', 'seg_test/seg_test/3.png', 'seg_pred/4.png', 'seg_pred/5.png']
  data, _ = load(source='folders', path=tree(tmp_path / 't', names))
  assert data.names.tolist() == names[:2] and not data.test.any()
  assert [note for note in data.notes if 'lie in no class folder' in note] == [
    't: 2 images in seg_pred lie in no class folder and are not used.',
    't: 1 images in seg_test lie in no class folder and are not used.',
  ]


@pytest.mark.parametrize('folders', [('Train', 'Test', 'other'), ('test', 'val'), ('cat', 'train')])
def test_parts_beside_classes_are_refused(tmp_path, folders):
  root = tree(tmp_path / 't', [f'{part}/{name}/1.png' for part in folders for name in ('cat', 'dog')])
  with pytest.raises(UserError, match=r'its folders are .*; expected a folder for each class, or folders train, val'):
    load(source='folders', path=root)


def test_classes_called_train_and_test_hold_images(tmp_path):
  root = tree(tmp_path / 't', ['train/1.png', 'test/2.png', 'car/3.png', 'trains/4.png'])
  assert load(source='folders', path=root)[0].classes == ('car', 'test', 'train', 'trains')


def test_parts_may_lie_in_the_class_folders(tmp_path):
  names = [f'pets/{kind}/{part}/1.png' for kind in ('cat', 'dog') for part in ('train', 'valid', 'test')]
  data, _ = load(source='folders', path=tree(tmp_path / 't', [*names, 'pets/undefined/train/x.png']))
  assert data.classes == ('cat', 'dog') and data.given.tolist() == [0] * 3 + [1] * 3 + [-1]
  assert data.names[data.test].tolist() == [names[2], names[5]] and data.names[data.val].tolist() == [
    names[1],
    names[4],
  ]
  assert data.notes == (
    't: its class folders hold the parts of the data set: 3 images train, 2 images validate, 2 images test.',
  )
  for other in ('pets/cat/1.png', 'pets/cat/more/1.png'):  # then they are only folders in a class
    data, _ = load(source='folders', path=tree(tmp_path / other.replace('/', ' '), [*names, other]))
    assert data.classes == ('cat', 'dog') and not data.test.any()


def test_the_folder_minus_one_is_unlabeled(tmp_path):
  root = tree(tmp_path / 't', ['-1/1.png', '0/1.png', '1/1.png'])
  data, _ = load(source='folders', path=root)
  assert data.classes == ('0', '1') and data.given.tolist() == [-1, 0, 1]
  assert load(source='folders', path=root, classes=('1', '0'))[0].given.tolist() == [-1, 1, 0]
  with pytest.raises(UserError, match=r"data.classes: -1, 0, 1: '-1' means no label"):
    load(source='folders', path=root, classes=('-1', '0', '1'))


def test_class_folders_without_a_label_file_are_named_as_such(tmp_path):
  root = tree(tmp_path / 't', ['cat/1.png', 'dog/1.png'])
  with pytest.raises(UserError, match=r"no file 'labels.csv' .*in a folder for each class, set data.source=folders"):
    load(path=root, labels='labels.csv')
  with pytest.raises(UserError, match=r"Set data.labels='' if there is none"):
    load(path=root / 'cat', labels='labels.csv')
  (root / 'metadata.jsonl').write_text('{}')
  with pytest.raises(UserError, match=r'The folder holds metadata.jsonl: name the one with the labels'):
    load(path=root, labels='labels.csv')


def test_rows_of_a_table_in_a_folder_of_the_images_are_of_that_folder(tmp_path):
  """As Hugging Face has it: each part has a metadata.csv, and the same names may be in all."""
  root = tree(tmp_path / 't', ['train/1.png', 'train/2.png', 'test/1.png', 'test/3.png'])
  (root / 'train/metadata.csv').write_text('file_name,label\n1.png,cat\n2.png,dog\n3.png,cat\n')
  data, _ = load(path=root, labels='train/metadata.csv')
  assert data.names.tolist() == ['test/1.png', 'test/3.png', 'train/1.png', 'train/2.png']
  assert data.given.tolist() == [-1, -1, 0, 1]  # the row of the missing train/3.png is not of test/3.png
  assert any('1 of 3 rows names an image that is not in' in note for note in data.notes)
  for whole in ('train/1.png,cat\ntrain/2.png,dog\n', '../train/1.png,cat\n2.png,dog\n'):
    (root / 'train/metadata.csv').write_text('file_name,label\n' + whole)
    assert load(path=root, labels='train/metadata.csv')[0].given.tolist() == [-1, -1, 0, 1]


def test_folders_that_only_wrap_are_seen_through(tmp_path):
  root = tree(tmp_path / 't', ['a/b/c/cat/1.png', 'a/b/c/dog/2.png'])
  assert load(source='folders', path=root)[0].classes == ('cat', 'dog')


def test_folders_that_hold_the_same_folders_are_doubted(tmp_path):
  root = tree(tmp_path / 't', [f'{part}/{name}/1.png' for part in ('fold1', 'fold2') for name in ('cat', 'dog')])
  data, _ = load(source='folders', path=root)
  assert data.classes == ('fold1', 'fold2')
  assert any('the classes are its folders fold1, fold2, and in each are cat, dog' in note for note in data.notes)
  root = tree(tmp_path / 'u', ['cat/2001/1.png', 'cat/2002/1.png', 'dog/2001/1.png'])
  assert not any('in each are' in note for note in load(source='folders', path=root)[0].notes)


def test_a_header_above_verified_labels_shifts_no_label(tmp_path):
  root = named(tmp_path, {'0.png': 'dog', '1.png': 'cat', '2.png': 'dog', '3.png': 'cat'})
  (root / 'verified.txt').write_text('checked\ndog\ncat\n')
  fields = {'path': root / 'photos', 'labels': root / 'labels.csv', 'verified': root / 'verified.txt'}
  with pytest.raises(UserError, match=r"row 1: 'checked'; expected a label as in the other rows\. If it is a header"):
    load(**fields)
  (root / 'verified.txt').write_text('label\ndog\ncat\n')
  assert load(**fields)[0].verified.tolist() == [1, 0, -1, -1]


def test_given_and_true_labels_of_one_file(tmp_path, caplog):
  root = named(tmp_path, {'0.png': 'dog', '1.png': 'cat', '2.png': 'dog'})
  (root / 'all.csv').write_text('image,label,true_label\n0.png,dog,cat\n1.png,cat,cat\n2.png,dog,dog\n')
  data, truth = load(path=root / 'photos', labels=root / 'all.csv', truth=root / 'all.csv')
  assert data.given.tolist() == [1, 0, 1] and truth.tolist() == [0, 0, 1]
  assert any("'image' and 'true_label' are read" in record.message for record in caplog.records)


def test_a_label_file_in_the_archive_of_the_images_is_named(tmp_path):
  root = named(tmp_path, {'0.png': 'dog', '1.png': 'cat'})
  with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
    for path in sorted(root.rglob('*')):
      archive.write(path, path.relative_to(root))
  (root / 'labels.csv').unlink()
  with pytest.raises(UserError, match=r"data.labels: 'labels.csv' lies in the archive .*all.zip as 'labels.csv'"):
    load(path=tmp_path / 'all.zip', labels='labels.csv')


def test_empty_class_folders_are_noted(tmp_path):
  root = tree(tmp_path / 't', ['cat/1.png', 'cat/2.png', 'dog/3.png', 'dog/4.png'])
  (root / 'owl').mkdir()
  (root / '.git' / 'hooks').mkdir(parents=True)
  data, _ = load(source='folders', path=root)
  assert data.classes == ('cat', 'dog')
  assert data.notes == ('t: 1 folder(s) without images are left out: owl.',)


def test_a_folder_without_classes_says_what_to_do(tmp_path):
  with pytest.raises(UserError, match=r'has no class folders: its 2 images lie side by side\. .*data\.source=images'):
    load(source='folders', path=tree(tmp_path / 't', ['1.png', '2.png']))


def test_folders_of_a_system_beside_the_classes_are_no_classes(tmp_path):
  root = tree(tmp_path / 't', ['cat/1.png', 'dog/2.png', '__MACOSX/cat/._1.png', '@eaDir/2.png', '#recycle/dog/3.png'])
  with zipfile.ZipFile(tmp_path / 't.zip', 'w') as archive:
    for path in sorted(root.rglob('*.png')):
      archive.write(path, path.relative_to(root).as_posix())
  for path in (root, tmp_path / 't.zip'):
    assert load(source='folders', path=path)[0].classes == ('cat', 'dog')


def test_a_link_back_to_its_own_folder_is_not_followed(tmp_path):
  root = tree(tmp_path / 't', ['cat/1.png', 'dog/2.png'])
  (root / 'cat' / 'loop').symlink_to(root / 'cat')
  (tmp_path / 'far').mkdir()
  (tmp_path / 'far' / '3.png').write_bytes(png(3))
  (root / 'cat' / 'far').symlink_to(tmp_path / 'far')
  assert load(source='folders', path=root)[0].names.tolist() == ['cat/1.png', 'cat/far/3.png', 'dog/2.png']


def test_files_that_change_places_are_decoded_anew_and_bad_ones_are_not_remembered(tmp_path):
  root = tree(tmp_path / 't', ['cat/1.png', 'dog/2.png'])
  one, two = root / 'cat/1.png', root / 'dog/2.png'
  for path, value in ((one, 10), (two, 200)):
    Image.fromarray(np.full((6, 6, 3), value, np.uint8)).save(path, 'bmp')
    os.utime(path, ns=(0, 0))
  assert load(source='folders', path=root)[0].images[:, 0, 0, 0].tolist() == [10, 200]
  one.rename(root / 'x')
  two.rename(one)
  (root / 'x').rename(two)
  assert load(source='folders', path=root)[0].images[:, 0, 0, 0].tolist() == [200, 10]
  with files.open_images(root) as found:
    broken, reads = lambda name: reads.append(name) or (b'' if '1' in name else found.read(name)), []
    wrong = found.__class__(**vars(found) | {'read': broken, 'stamp': 'x'})
    assert len(wrong.decoded().bad) == len(wrong.decoded().bad) == 1
    assert sorted(reads) == ['cat/1.png', 'cat/1.png', 'dog/2.png']  # the second time the bad one alone
    assert not found.__class__(**vars(found) | {'stamp': 'x'}).decoded().bad


def test_a_table_may_lie_among_the_images(tmp_path):
  root = named(tmp_path, {'a.png': 'cat', 'b.png': 'dog'})
  (root / 'photos').rename(root / 'images')
  (root / 'images' / 'metadata.csv').write_text('file_name,label\na.png,cat\nb.png,dog\n')
  assert load(path=root, labels='metadata.csv')[0].given.tolist() == [0, 1]


def test_classes_are_decided_over_all_label_files(tmp_path):
  root = named(tmp_path, {f'{i}.png': f'{i % 12}.0' for i in range(24)})
  (root / 'verified.csv').write_text('image,label\n' + ''.join(f'{i}.png,{i % 12}\n' for i in range(24)))
  fields = dict(path=root / 'photos', labels=root / 'labels.csv', verified=root / 'verified.csv')
  data, truth = load(**fields, truth=root / 'verified.csv')
  assert data.classes == tuple(map(str, range(12)))
  np.testing.assert_array_equal(data.given, data.verified)
  np.testing.assert_array_equal(data.given, truth)
  (root / 'verified.csv').write_text('image,label\n3.png,three\n')
  with pytest.raises(UserError, match=r"verified.csv: row 2 is the name 'three', and .*labels.csv: row 2 the number"):
    load(**fields)
