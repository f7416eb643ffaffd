"""The inspection reports counts, duplicates and contradictions in the data, and shows no test rows."""

import dataclasses

import matplotlib.image
import numpy as np
import pytest
from PIL import Image

from noisyjax.data import dataset as datasets
from noisyjax.data.split import Split
from noisyjax.data.thumbnail import thumbnails
from noisyjax.reports.inspect import GRID, image_grid, inspect, shown
from noisyjax.system.errors import UserError

NAMES = ('cat', 'd$o$^g', 'a very long class name')  # no formula in a name is set as one


@pytest.fixture
def small(monkeypatch):
  """Draws 6 images instead of 40: text in pictures is slow."""
  monkeypatch.setattr('noisyjax.reports.inspect.GRID', (2, 3))


def data(n=60, classes=NAMES, channels=3, **fields):
  images = np.random.default_rng(0).integers(0, 256, (n, 4, 5, channels), dtype=np.uint8)
  images[7] = images[8] = images[3]
  images[20] = images[10]
  given = np.arange(n) % len(classes)
  given[8] = -1  # an unlabeled copy conflicts with none
  verified = np.where(np.arange(n) < 30, np.arange(n) % len(classes), -1)
  verified[:6] = (verified[:6] + 1) % len(classes)
  return datasets.make(images, given, classes, **{'verified': verified, 'notes': ('2 dot-files skipped',), **fields})


def parts(n=60):
  return Split(np.arange(10, 50), np.arange(10), np.arange(50, n - 2), ('a note of the split',))


def cells(report, first):
  """The cells of the report's table row that starts with `first`."""
  return next(line.split() for line in report.splitlines() if line.strip().startswith(first))[len(first.split()) :]


def test_the_report_counts(tmp_path, small):
  dataset = data()
  truth = np.where(np.arange(60) < 10, 0, -1)
  report = inspect(dataset, truth, parts(), tmp_path)
  assert (tmp_path / 'inspect.txt').read_text() == report + '\n'
  assert cells(report, 'given  train') == ['val', 'test', 'unused', 'verified']
  count = lambda rows, c: str(np.sum(dataset.given[rows] == c))
  for c, name in enumerate(('cat', 'd$o$^g')):
    slices = (slice(None), slice(10, 50), slice(0, 10), slice(50, 58), slice(58, 60))
    assert cells(report, name) == [*(count(s, c) for s in slices), str(np.sum(dataset.verified == c))]
  assert cells(report, 'unlabeled') == ['1', '0', '1', '0', '0']
  assert cells(report, 'unchecked') == ['30', '20', '0', '8', '2']
  assert '4 x 5 x 3, uint8' in report and dataset.fingerprint in report
  pixels = dataset.images.reshape(-1, 3)
  assert cells(report, 'mean')[:3] == [f'{m:.1f}' for m in pixels.mean(0)]
  assert cells(report, 'std') == [f'{s:.1f}' for s in pixels.std(0)]
  assert '2 dot-files skipped' in report and 'a note of the split' in report
  wrong = np.mean(dataset.given[:10][dataset.given[:10] >= 0] != 0)
  assert f'audit        true labels of 9 labeled rows are known: {wrong:.2%}' in report


def test_the_report_names_duplicates_and_their_conflicts(tmp_path, small):
  names = [f'{i:05d}.png' for i in range(60)]
  report = inspect(data(names=names), np.full(60, -1), parts(), tmp_path)
  assert '2 images occur more than once, in 5 rows' in report
  assert '00003.png, 00007.png, 00008.png\n' in report
  assert '2 of them have labels that conflict' in report
  assert (
    '00010.png (given d$o$^g, verified d$o$^g), 00020.png (given a very long cla…, verified a very long cla…)' in report
  )
  assert 'audit' not in report
  plain = datasets.make(np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3), [0, 1, 0, 1], ('cat', 'd$o$^g'))
  rows = np.arange(4)
  report = inspect(plain, np.full(4, -1), Split(rows, rows[:0], rows[:0]), tmp_path)
  assert 'unchecked' not in report  # nobody checked any
  assert 'Exact duplicates\n  none' in report


def test_the_report_shows_the_matrix_and_the_noise_rate(tmp_path, small):
  report = inspect(data(), np.full(60, -1), parts(), tmp_path)
  assert '6 of 29 rows with both labels differ: noise rate 20.69%' in report
  lines = report.splitlines()
  start = next(i for i, line in enumerate(lines) if 'share of the verified class' in line)
  counts = [line.split()[-3:] for line in lines[start - 4 : start - 1]]
  # The given class of rows 0..5 is one less than the verified one; row 8 (the third class) is unlabeled.
  assert counts == [['8', '0', '2'], ['2', '8', '0'], ['0', '2', '7']]
  assert [line.split()[-3:] for line in lines[start + 2 : start + 5]][2] == ['0.000', '0.222', '0.778']


def test_many_classes_list_the_most_frequent_confusions(tmp_path, small):
  classes = tuple(f'class{c}' for c in range(30))
  given = np.arange(60) % 30
  verified = given.copy()
  given[[5, 35]] = 6
  report = inspect(data(classes=classes).with_labels(given, verified), np.full(60, -1), parts(), tmp_path)
  assert 'class5 -> class6  2' in report and 'share of the verified class' not in report
  assert (tmp_path / 'matrix.png').exists()


def test_pictures_are_written_and_an_old_matrix_goes(tmp_path, small):
  inspect(data(), np.full(60, -1), parts(), tmp_path / 'new' / 'folder')
  for name in ('inspect.png', 'matrix.png'):
    assert matplotlib.image.imread(tmp_path / 'new' / 'folder' / name).std() > 0.01
  report = inspect(data(channels=1, verified=None), np.full(60, -1), parts(), tmp_path / 'new' / 'folder')
  assert 'no row has both' in report
  assert not (tmp_path / 'new' / 'folder' / 'matrix.png').exists()


def test_contradicted_labels_are_marked_on_their_own_image():
  dataset = data()
  rows = np.array([0, 8, 12, 40])  # contradicted, unlabeled, confirmed, unchecked
  axes = image_grid(dataset, rows).axes
  titles = [axis.get_title() for axis in axes]
  assert titles == [
    'given cat\nverified d$o$^g',
    'given (none)\nverified a very long cla…',
    'given cat\nverified cat',
    'given d$o$^g\n',
  ]
  assert [len(axis.patches) for axis in axes] == [1, 0, 0, 0]
  for axis, row in zip(axes, rows):
    np.testing.assert_array_equal(axis.images[0].get_array(), dataset.images[row])


def test_the_picture_shows_checked_rows_first_and_no_test_rows():
  dataset, split = data(400), Split(np.arange(10, 300), np.arange(10), np.arange(300, 400))
  rows = shown(dataset, split)
  assert len(rows) == GRID[0] * GRID[1] and rows.max() < 300
  assert np.isin(np.setdiff1d(np.arange(30), [8]), rows).all()
  few = shown(dataset, Split(np.arange(5), np.arange(0), np.arange(5, 400)))
  np.testing.assert_array_equal(few, [0, 3, 1, 4, 2])  # class by class


def test_the_picture_shows_every_class_alike_and_unlabeled_rows_last():
  given = np.where(np.arange(400) < 350, -1, 0)  # 350 unlabeled rows, then 44 of the first class and 3 of each other
  given[394:397], given[397:] = 1, 2
  dataset = data(400, verified=None).with_labels(given=given)
  rows = shown(dataset, Split(np.arange(400), np.arange(0), np.arange(0)))
  assert len(set(rows.tolist())) == GRID[0] * GRID[1] and dataset.given[rows].tolist() == [0] * 34 + [1] * 3 + [2] * 3
  few = dataset.with_labels(given=np.where(np.arange(400) % 20 == 19, given, -1))
  rows = shown(few, Split(np.arange(400), np.arange(0), np.arange(0)))
  assert (few.given[rows] >= 0).tolist() == [True] * 3 + [False] * 37  # three labeled ones, before all others


@pytest.fixture
def photos(tmp_path):
  """A data set of 8x8 crops of a wide photo, a turned one, and one that is gone."""
  folder = tmp_path / 'photos'
  folder.mkdir()
  Image.new('RGB', (300, 100), 'red').save(folder / 'wide.png')
  turned = Image.Exif()
  turned[0x0112] = 6  # a quarter turn
  Image.new('RGB', (90, 30), 'blue').save(folder / 'turned.jpg', exif=turned)
  names = ['wide.png', 'turned.jpg', 'gone.png']
  return datasets.make(np.full((3, 8, 8, 3), 7, np.uint8), [0, 1, 0], NAMES, names=names, root=folder)


def test_thumbnails_are_of_the_originals_whole_and_turned(photos):
  pictures = list(thumbnails(photos, [1, 2, 0], 60))
  assert [p.size for p in pictures] == [(20, 60), (8, 8), (60, 20)]
  assert pictures[2].getpixel((30, 10)) == (255, 0, 0) and pictures[1].getpixel((0, 0)) == (7, 7, 7)
  moved = dataclasses.replace(photos, root=photos.root + '-elsewhere')
  assert [p.size for p in thumbnails(moved, [0, 1], 60)] == [(8, 8)] * 2
  gray = datasets.make(np.full((1, 100, 50, 1), 7, np.uint8), [0], NAMES)
  assert [(p.size, p.mode) for p in thumbnails(gray, [0], 60)] == [((30, 60), 'L')]


def test_the_picture_of_images_shows_the_originals(photos):
  axes = image_grid(photos, np.array([0, 2])).axes
  assert [axis.images[0].get_array().shape for axis in axes] == [(67, 200, 3), (8, 8, 3)]


def test_the_matrix_has_verified_labels_down(tmp_path, small, monkeypatch):
  kept = []
  monkeypatch.setattr('noisyjax.reports.pictures.style.png', lambda figure: kept.append(figure) or b'')
  inspect(data(), np.full(60, -1), parts(), tmp_path)
  axis = kept[1].axes[0]
  np.testing.assert_allclose(axis.images[0].get_array(), [[0.8, 0, 0.2], [0.2, 0.8, 0], [0, 2 / 9, 7 / 9]])
  assert axis.get_ylabel() == 'verified label' and axis.get_xlabel() == 'given label'
  assert [t.get_text() for t in axis.texts] == ['8\n80 %', '2\n20 %', '2\n20 %', '8\n80 %', '2\n22 %', '7\n78 %']


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'file.*cannot create this folder'):
    inspect(data(), np.full(60, -1), parts(), tmp_path / 'file')
