"""Ids, fingerprint, duplicates, validation, the label reader and the cache."""

import hashlib
import os
import types
from pathlib import Path

import numpy as np
import pytest

from noisyjax.data import cache, dataset, label_file
from noisyjax.system.errors import UserError

REAL = Path(os.environ.get('NOISYJAX_DATA', ''))


def pictures(count: int) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)


def made(given, verified=None, images=None) -> dataset.Dataset:
  images = pictures(len(given)) if images is None else images
  return dataset.make(images, given, ('a', 'b', 'c'), verified=verified)


def none(count: int) -> np.ndarray:
  return np.full(count, -1)


def test_ids_name_pixels_and_number_repetitions():
  images = pictures(5)
  images[[2, 4]] = images[0]
  ids = made([0, 1, 2, 0, 1], images=images).ids
  name = hashlib.sha256(b'(4, 4, 3)' + images[0].tobytes()).hexdigest()
  assert ids[[0, 2, 4]].tolist() == [name, f'{name}-1', f'{name}-2']
  assert len(set(ids)) == 5
  # What stands after an image says nothing about it.
  assert made([0, 1, 2], images=images[:3]).ids.tolist() == ids[:3].tolist()


def test_fingerprint_changes_with_labels_classes_images_and_order_only():
  base = made([0, 1, 2], [0, -1, 2])
  others = [
    base.with_labels(given=np.array([0, 1, 1])),
    base.with_labels(verified=np.array([0, 1, 2])),
    base.with_labels(given=base.verified, verified=base.given),
    dataset.make(base.images, base.given, ('a', 'b', 'd'), verified=base.verified),
    made([0, 1, 2], [0, -1, 2], images=255 - base.images),
    made([2, 1, 0], [2, -1, 0], images=base.images[::-1]),
  ]
  assert len({d.fingerprint for d in [base, *others]}) == 7
  renamed = dataset.make(base.images, base.given, base.classes, verified=base.verified, names=['x', 'y', 'z'])
  assert renamed.fingerprint == base.fingerprint
  same = base.with_labels(given=base.given.astype(np.int64))
  assert (same.fingerprint, same.given.dtype) == (base.fingerprint, np.int32)


def test_duplicates_and_their_conflicts():
  images = pictures(9)
  images[[3, 7]] = images[1]  # given differ
  images[4] = images[2]  # one of them unlabeled: no conflict
  images[6] = images[5]  # given agree, verified differ
  data = made([0, 1, 2, 1, -1, 0, 0, 2, 1], [-1, -1, -1, -1, 2, 1, 2, -1, -1], images)
  assert dataset.duplicate_groups(data.ids).tolist() == [0, 1, 2, 1, 2, 5, 5, 1, 8]
  assert [d.rows for d in dataset.duplicates(data)] == [(1, 3, 7), (2, 4), (5, 6)]
  conflicts = dataset.conflicting_duplicates(data)
  assert [(d.rows, d.given, d.verified) for d in conflicts] == [
    ((1, 3, 7), (1, 1, 2), (-1, -1, -1)),
    ((5, 6), (0, 0), (1, 2)),
  ]
  assert conflicts[0].names == ('1', '3', '7')
  assert dataset.duplicates(made([0, 1, 2])) == []


@pytest.mark.parametrize(
  ('given', 'verified', 'message'),
  [
    ([-1, -1, -1], None, 'All 3 rows are unlabeled'),
    ([1, 1, -1], None, r"All labels are 'b': one class only, and 1 of 3 rows are unlabeled \(-1 means so, too\); exp"),
    ([0, 1, 3], None, r'given labels: row 2 \(from 0\) is 3; .*0..2'),
    ([0, 1, 2], [-1, -2, -1], r'verified labels: row 1 \(from 0\) is -2'),
  ],
)
def test_labels_that_cannot_be_trained_on(given, verified, message):
  data = made(given, verified)
  with pytest.raises(UserError, match=message):
    dataset.validate(data, none(3))


def test_verified_labels_count_as_labels_and_an_empty_class_is_noted():
  assert dataset.validate(made([-1, -1, -1], [0, 1, 2]), none(3)) == []
  assert dataset.validate(made([0, 1, -1], [-1, -1, 2]), none(3)) == []
  assert dataset.validate(made([0, 2, 2]), none(3)) == ['1 of 3 classes have no row: b.']


def test_the_truth_is_checked_too():
  data = made([0, 1, 2])
  with pytest.raises(UserError, match='truth: has shape'):
    dataset.validate(data, none(2))
  with pytest.raises(UserError, match=r'truth: row 1 \(from 0\) is 7'):
    dataset.validate(data, np.array([0, 7, 2]))


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    (np.array([0, 1.5, 2]), r'x: row 1 \(from 0\) is 1.5; expected an integer'),
    (np.array([0, np.nan, 2]), 'row 1'),
    (np.array([0, 9, 9]), r'row 1 \(from 0\) is 9 \(2 such rows\)'),
    (np.array(['0', '1', '2']), 'expected integers'),
    (np.array([0, 1]), r'shape \(2,\); expected one label for each of the 3 images'),
  ],
)
def test_label_arrays_are_judged_by_row(values, message):
  with pytest.raises(UserError, match=message):
    dataset.labels_of(values, 3, 3, 'x')


def test_unknown_source_lists_the_sources():
  with pytest.raises(
    UserError, match=r"data.source: unknown value 'image'.*Did you mean 'images'.*digits, features, folders"
  ):
    dataset.load(types.SimpleNamespace(source='image', path=''))


# Label files.


def write(path: Path, text: str) -> Path:
  path.write_text(text, encoding='utf-8')
  return path


def test_read_labels_of_csv_and_npy(tmp_path):
  want = [3, 0, -1, 2]
  np.save(tmp_path / 'a.npy', np.array(want, np.int8))
  np.save(tmp_path / 'f.npy', np.array(want, np.float64))  # what np.genfromtxt makes of integers
  files = ['a.npy', 'f.npy', 'a.csv', 'b.csv']
  write(tmp_path / 'a.csv', '3\n0\n-1\n2\n')
  write(tmp_path / 'b.csv', '\ufeff3\r\n 0\r\n-1\r\n2\r\n\r\n\r\n')  # byte order mark, Windows line ends, blank tail
  for file in files:
    got = label_file.read_labels(tmp_path / file)
    assert (got.tolist(), got.dtype) == (want, np.int32)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('0\n1\ntwo\n', "row 3: 'two'; expected an integer"),
    ('0\n1.5\n', "row 2: '1.5'"),
    ('0\n-2\n', "row 2: '-2'"),
    ('0\n1,2\n', "row 2: '1,2'"),
    ('', 'is empty'),
    ('0\n99999999999\n', 'row 2'),
    ('image,label\na.png,1\n', 'one integer a row'),
    ('x\n' * 9, "row 5: 'x' and 4 more"),
  ],
)
def test_a_bad_label_is_named_by_its_row(tmp_path, text, message):
  with pytest.raises(UserError, match=message):
    label_file.read_labels(write(tmp_path / 'labels.csv', text))


def test_label_files_that_cannot_be_read(tmp_path):
  with pytest.raises(UserError, match='there is no file'):
    label_file.read_labels(tmp_path / 'absent.csv')
  with pytest.raises(UserError, match='is a folder; expected a file'):
    label_file.read_labels(tmp_path)
  os.mkfifo(tmp_path / 'pipe')  # with no writer it would wait for ever
  with pytest.raises(UserError, match='pipe: is a pipe or device; expected a file'):
    label_file.read_labels(tmp_path / 'pipe')
  (tmp_path / 'image.csv').write_bytes(b'\x89PNG\r\n\xff\xfe')
  with pytest.raises(UserError, match=r'image.csv: is an image; expected a table of labels'):
    label_file.read_labels(tmp_path / 'image.csv')
  np.save(tmp_path / 'dict.npy', np.array({'worse_label': np.zeros(3), 'clean_label': 0}), allow_pickle=True)
  with pytest.raises(UserError, match=r'dict.npy: holds worse_label, clean_label; name one of them'):
    label_file.read_labels(tmp_path / 'dict.npy')
  np.save(tmp_path / 'square.npy', np.zeros((3, 3), int))
  with pytest.raises(UserError, match=r'shape \(3, 3\)'):
    label_file.read_labels(tmp_path / 'square.npy')
  (tmp_path / 'cut.npy').write_bytes((tmp_path / 'square.npy').read_bytes()[:-9])
  with pytest.raises(UserError, match=r'cut\.npy'):
    label_file.read_labels(tmp_path / 'cut.npy')


def test_order_puts_python_rows_where_tfds_has_them(tmp_path):
  np.save(tmp_path / 'labels.npy', np.array([5, 6, 7, 8]))
  np.save(tmp_path / 'order.npy', np.array([2, 0, 3, 1]))
  assert label_file.read_labels(tmp_path / 'labels.npy', tmp_path / 'order.npy').tolist() == [7, 5, 8, 6]
  for wrong in ([0, 1, 2], [0, 1, 2, 2], [1, 2, 3, 4], [0, 1, 2, 3, 4]):
    np.save(tmp_path / 'order.npy', np.array(wrong))
    with pytest.raises(UserError, match=r'order.npy: expected every row number 0..3'):
      label_file.read_labels(tmp_path / 'labels.npy', tmp_path / 'order.npy')


def test_cifar10n_order_is_the_one_tfds_writes():
  """TFDS sorts the python rows by a keyed hash, the split's name; the published order file says the same."""
  file = REAL / 'cifar10n' / 'image_order_c10.npy'
  if not file.exists():
    pytest.skip(f'{file} is missing')
  from tensorflow_datasets.core import hashing

  hasher = hashing.Hasher('train')
  order = np.load(file)
  assert sorted(range(50_000), key=hasher.hash_key) == order.tolist()
  clean = label_file.read_labels(REAL / 'cifar10n' / 'clean_label.npy')
  worse = label_file.read_labels(REAL / 'cifar10n' / 'worse_label.npy', file)
  assert abs(np.mean(worse != clean[order]) - 0.402) < 1e-3  # what the paper reports for `worse`
  assert np.mean(worse != clean) > 0.8  # in the wrong order they are chance


# The cache.


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'home'))
  return cache.folder()


def counting(value: int):
  calls = []

  def make():
    calls.append(value)
    return {'images': np.full((2, 3), value, np.uint8), 'names': np.array(['ä', 'b'])}

  return make, calls


def test_cache_returns_what_was_stored(cache_home):
  make, calls = counting(1)
  first = cache.cached(('here', 8), 'stamp', make)
  again = cache.cached(('here', 8), 'stamp', make)
  assert calls == [1]
  for key in ('images', 'names'):
    np.testing.assert_array_equal(first[key], again[key])
  assert set(again) == {'images', 'names'}
  cache.cached(('here', 9), 'stamp', make)
  assert len(calls) == 2
  assert len(list(cache_home.iterdir())) == 2


def test_cache_notices_other_content_and_does_not_grow(cache_home):
  make, _ = counting(1)
  other, calls = counting(2)
  cache.cached(('here',), 'old', make)
  assert cache.cached(('here',), 'new', other)['images'][0, 0] == 2
  assert cache.cached(('here',), 'new', other)['images'][0, 0] == 2
  assert calls == [2]
  assert len(list(cache_home.iterdir())) == 1


@pytest.mark.parametrize('damage', [lambda b: b[: len(b) // 2], lambda b: b'', lambda b: b'no zip at all' * 9])
def test_a_damaged_entry_is_made_again(cache_home, damage):
  make, calls = counting(1)
  cache.cached(('here',), 'stamp', make)
  (entry,) = cache_home.iterdir()
  entry.write_bytes(damage(entry.read_bytes()))
  assert cache.cached(('here',), 'stamp', make)['images'][0, 0] == 1
  cache.cached(('here',), 'stamp', make)
  assert len(calls) == 2


def test_no_cache_is_no_error(cache_home, monkeypatch):
  make, calls = counting(1)
  cache.cached(('here',), 'stamp', make, enabled=False)
  assert not cache_home.exists()

  def full(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(np, 'savez', full)
  assert cache.cached(('here',), 'stamp', make)['images'][0, 0] == 1
  assert list(cache_home.iterdir()) == []  # no half-written file stays
  assert len(calls) == 2
