"""Images and labels from Python objects."""

import enum
import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from noisyjax.analysis import issues
from noisyjax.data import column, labels, objects
from noisyjax.system.errors import UserError


def pictures(count: int = 6, side: int = 10) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)


class Features(dict):
  """What `datasets.Dataset.features` is: column name → feature."""


class ClassLabel:
  names = ('owl', 'fox')


class HuggingFace:
  """The part of `datasets.Dataset` that is looked at."""

  def __init__(self, **columns):
    self._columns = columns
    self.column_names = list(columns)
    self.features = Features(img=type('Image', (), {})(), species=ClassLabel())

  def __getitem__(self, name):
    return self._columns[name]


def test_one_size_keeps_its_pixels():
  images = pictures()
  for held in (images, list(images), images.tolist(), images.astype(np.int64)):
    np.testing.assert_array_equal(objects.images_of(held)[0], images)


def test_mixed_sizes_paths_and_pil_images_are_cropped_to_the_median_side(tmp_path):
  Image.fromarray(pictures(1, 12)[0]).save(tmp_path / 'a.png')
  items = [tmp_path / 'a.png', str(tmp_path / 'a.png'), Image.fromarray(pictures(1, 8)[0]), pictures(1, 30)[0]]
  images, _ = objects.images_of(items)
  assert images.shape == (4, 12, 12, 3)
  assert objects.images_of(items, size=8)[0].shape == (4, 8, 8, 3)
  assert objects.images_of(pd.Series(items))[0].shape == (4, 12, 12, 3)
  assert objects.images_of([Image.fromarray(i) for i in pictures(3, 200)])[0].shape == (3, 64, 64, 3)


def test_the_images_of_a_table_are_its_column_of_images(tmp_path):
  Image.fromarray(pictures(1, 12)[0]).save(tmp_path / 'a.png')
  paths = [str(tmp_path / 'a.png')] * 3
  tables = (
    pd.DataFrame({'where': paths}),
    pd.DataFrame({'id': [7, 8, 9], 'file': paths, 'features': [0, 1, 2]}),
    pd.DataFrame({'where': paths}).to_numpy(),
    {'file_name': paths, 'label': [0, 1, 0]},
  )
  for table in tables:
    assert objects.images_of(table)[0].shape == (3, 12, 12, 3)
  with pytest.raises(UserError, match=r'found shape \(3, 49\).*reshape'):
    objects.images_of(pd.DataFrame(np.zeros((3, 49), int)))
  with pytest.raises(UserError, match=r"is a dictionary of data sets, 'train', 'test'; expected one of them"):
    objects.columns_of({'train': tables[0], 'test': tables[0]}, None)


def test_columns_are_found_by_preference_and_true_labels_are_not_given():
  table = pd.DataFrame({'id': [1, 2], 'true_label': [0, 0], 'image': ['a', 'b'], 'label': [0, 1]})
  images, labels, _ = objects.columns_of(table, None)
  assert list(images) == ['a', 'b'] and list(labels) == [0, 1]


def test_a_folder_whose_order_is_ambiguous_is_noted(tmp_path):
  for name in ('2.png', '10.png'):
    Image.fromarray(pictures(1, 12)[0]).save(tmp_path / name)
  (note,) = objects.images_of(tmp_path)[1]
  assert "in the order of their names as text; sorting the images as text or by number differs (position 0: '10" in note


@pytest.mark.parametrize('images', [None, 5, object(), int])
def test_what_holds_no_images_is_named(images):
  with pytest.raises(UserError, match=r'X: is of type \w+; expected a list or array of images'):
    objects.images_of(images, where='X')


class Torch:
  """The part of torch's map-style data sets that is looked at; they need not raise IndexError after the last row."""

  classes = ('owl', 'fox')

  def __init__(self, rows):
    self.rows = rows

  def __len__(self):
    return len(self.rows)

  def __getitem__(self, i):
    return self.rows[i % len(self.rows)]


def test_data_sets_of_records_and_pairs_are_tables():
  arrays, given = pictures(), [0, 1, 0, 1, 1, 0]
  pairs = list(zip(map(Image.fromarray, arrays), given))
  records = [{'image': image, 'label': label} for image, label in pairs]
  records[1] = dict(reversed(records[1].items()))  # the order of the keys does not matter
  for held in (pairs, zip(arrays, map(np.int64, given)), records, Torch(pairs), Torch(records), iter(records)):
    table = objects.tabled(held)
    np.testing.assert_array_equal(objects.images_of(table, size=10)[0], arrays)
    assert list(objects.columns_of(table, None)[1]) == given
  np.testing.assert_array_equal(objects.images_of(Torch(pairs), size=10)[0], arrays)
  assert objects.columns_of(objects.tabled(Torch(pairs)), None, Torch.classes)[1:] == (
    [Torch.classes[c] for c in given],
    Torch.classes,
  )
  with pytest.raises(UserError, match=r'images: row 0 \(from 0\) is a list of ndarray, ndarray; expected an image'):
    objects.images_of([[arrays[:3], np.array(given[:3])], [arrays[3:], np.array(given[3:])]])  # batches of a loader
  for other in (arrays, 'photos', None, int, [(1, 2, 3)], [{'bytes': b'', 'path': None}]):
    assert objects.tabled(other) is other or objects.tabled(other) == other


def test_open_files_and_buffers_are_images(tmp_path):
  Image.fromarray(pictures(1)[0]).save(tmp_path / 'a.png')
  data = (tmp_path / 'a.png').read_bytes()
  items = [data, bytearray(data), memoryview(data), io.BytesIO(data), (tmp_path / 'a.png').open('rb')]
  np.testing.assert_array_equal(objects.images_of(items, size=10)[0], np.repeat(pictures(1), 5, 0))


def test_labels_that_number_declared_classes_are_their_names():
  """As Hugging Face sorts folders 1, 2 and 10: the label 1 is class 10."""
  names, given = ('1', '10', '2'), [0, 1, 2] * 6
  probs = np.eye(3)[given] * 0.8 + 0.2 / 3
  probs[4] = probs[0]
  data = HuggingFace(img=[None] * 18, species=given)
  data.features['species'] = type('ClassLabel', (), {'names': names})()
  found = issues.find_label_issues(data, probs=probs, labels='species')
  assert found.classes == names and found.row[found.flagged].tolist() == [4]
  assert found.given[found.flagged].tolist() == [1]
  columns = pd.DataFrame(probs[:, ::-1], columns=list(names[::-1]))  # named in another order
  found = issues.find_label_issues(data, probs=columns, labels='species')
  assert found.classes == names[::-1] and found.row[found.flagged].tolist() == [4]


def test_a_categorical_column_declares_the_classes_and_their_order():
  given = pd.Categorical(['owl', 'fox'] * 10, categories=['owl', 'fox', 'cat'])
  probs = np.eye(3)[given.codes] * 0.8 + 0.2 / 3
  probs[3] = probs[0]
  for own in (given, pd.Series(given)):
    found = issues.find_label_issues(labels=own, probs=probs)
    assert found.classes == ('owl', 'fox', 'cat') and found.row[found.flagged].tolist() == [3]
    assert found.given.tolist() == given.codes[found.row].tolist()
  found = issues.find_label_issues(labels=given, probs=probs[:, :2] / probs[:, :2].sum(1, keepdims=True))
  assert found.classes == ('owl', 'fox') and found.row[found.flagged].tolist() == [3]
  found = issues.find_label_issues(labels=given, probs=probs, classes=['cat', 'fox', 'owl'])
  assert found.classes == ('cat', 'fox', 'owl')  # what the user says is right
  assert labels.categories(pd.Series(['owl']), 'none') == labels.categories(['owl'], 'none') == ()


@pytest.mark.parametrize('none', ['undefined', None])
def test_a_category_that_means_unlabeled_is_no_class(none):
  named, numbers = pd.Categorical(['owl', none, 'fox', 'fox '] * 5), pd.Categorical([0, -1, 1, 1] * 5)
  probs = np.full((20, 2), 0.5)
  assert issues.find_label_issues(labels=named, probs=probs).classes == ('fox', 'owl')
  assert issues.find_label_issues(labels=numbers, probs=probs).classes == ('0', '1')


def test_members_of_an_enum_are_their_text_or_name():
  text, numbered = enum.Enum('Text', {'OWL': 'owl', 'FOX': 'fox'}), enum.Enum('Numbered', ['owl', 'fox'])
  for kind in (text, numbered):
    assert column.column_of([*kind, None], 'labels').labels == ['owl', 'fox', None]
  assert column.column_of([*enum.IntEnum('Int', ['owl', 'fox'])], 'labels').labels == ['1', '2']


def test_a_record_without_path_and_bytes_is_named():
  with pytest.raises(UserError, match=r"row 0 \(from 0\): a record of 'x'; expected 'bytes' or 'path'"):
    objects.images_of([{'x': 1}] * 3)


def test_a_folder_and_a_zip_in_the_order_of_their_names(tmp_path):
  with zipfile.ZipFile(tmp_path / 'photos.zip', 'w') as archive:
    for i, image in enumerate(pictures()):
      Image.fromarray(image).save(tmp_path / f'{i}.png')
      archive.write(tmp_path / f'{i}.png', f'{i}.png')
  for path in (tmp_path / 'photos.zip', str(tmp_path)):
    np.testing.assert_array_equal(objects.images_of(path)[0], pictures())
  (tmp_path / '3.png').write_bytes(b'broken')
  with pytest.raises(UserError, match=r'3\.png'):
    objects.images_of(tmp_path)
  with pytest.raises(UserError, match='no such folder'):
    issues.find_label_issues(tmp_path / 'missing.zip', [0, 1])


def test_tables_are_parted_by_the_names_of_their_columns(tmp_path):
  frame = pd.DataFrame({'File Name': ['a.png', 'b.png'], 'width': [1, 2], 'Category': ['owl', 'fox']})
  images, labels, classes = objects.columns_of(frame, None)
  assert list(images) == ['a.png', 'b.png'] and list(labels) == ['owl', 'fox'] and classes == ()
  assert list(objects.columns_of(frame, 'width')[1]) == [1, 2]
  assert objects.columns_of(frame, [0, 1])[1] == [0, 1]
  with pytest.raises(UserError, match=r"no column 'nothing'.*File Name, width, Category"):
    objects.columns_of(frame, 'nothing')
  with pytest.raises(UserError, match='cannot tell which column holds the image; the columns are width'):
    objects.columns_of(frame[['width']], [0, 1])
  data = HuggingFace(id=[7, 8], img=['x', 'y'], species=[0, 1])
  assert objects.columns_of(data, 'species') == (['x', 'y'], ['owl', 'fox'], ('owl', 'fox'))
  assert not objects.is_table(np.zeros(3)) and not objects.is_table([1]) and not objects.is_table(None)


def test_find_takes_a_frame_with_own_probabilities():
  labels = ['owl', 'fox'] * 10
  labels[3] = 'owl'
  probs = np.eye(2)[np.arange(20) % 2] * 0.9 + 0.05
  data = HuggingFace(img=[None] * 20, species=[('owl', 'fox').index(name) for name in labels])
  found = issues.find_label_issues(data, 'species', probs=probs)
  assert found.classes == ('owl', 'fox') and found.row[found.flagged].tolist() == [3]


def test_a_device_in_place_of_an_image_is_refused_and_not_read():
  with pytest.raises(UserError, match=r'/dev/null: is a pipe or device; expected a file'):
    objects.images_of(['/dev/null'] * 3)


def test_a_path_that_is_very_long_is_cut_in_the_message():
  with pytest.raises(UserError) as error:
    objects.images_of(['a' * 100_000] * 3)
  assert len(str(error.value)) < 2000


def test_an_array_of_paths_is_a_list_of_paths(tmp_path):
  paths = []
  for i, image in enumerate(pictures()):
    paths.append(str(tmp_path / f'{i}.png'))
    Image.fromarray(image).save(paths[-1])
  expected, _ = objects.images_of(paths)
  found, _ = objects.images_of(np.array(paths))
  np.testing.assert_array_equal(found, expected)
