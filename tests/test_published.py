"""Data sets as they are published: a tiny copy of each layout gives the right rows, labels and parts."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisyjax.config.defaults import get_config
from noisyjax.data import dataset, label_file, prepare
from noisyjax.system.errors import UserError


def load(source: str, path: Path, **fields):
  config = get_config()
  config.data.source, config.data.path, config.data.cache = source, str(path), False
  for name, value in fields.items():
    config.data[name] = value
  return dataset.load(config.data)


def pixels(seed: int, *shape: int) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def jpg(path: Path, seed: int) -> None:
  """Writes a photo of one color, which JPEG keeps nearly as it is."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.broadcast_to(pixels(seed, 3), (8, 8, 3))).save(path, 'jpeg')


def lines(path: Path, *text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(f'{line}\n' for line in text))


def labels_of(data: dataset.Dataset, truth: np.ndarray) -> dict[str, tuple]:
  """Returns name → (given, verified, true, part)."""
  part = np.where(data.test, 'test', np.where(data.val, 'val', 'train'))
  return {
    name: row
    for name, *row in zip(
      data.names.tolist(), data.given.tolist(), data.verified.tolist(), truth.tolist(), part.tolist()
    )
  }


# CIFAR.


def cifar10(root: Path, protocol: int = 2) -> Path:
  """Five batches of three images and a test batch of two; image i is `pixels(i)`, of class i modulo 10."""
  root.mkdir(parents=True)
  for batch in range(6):
    rows = range(3 * batch, 3 * batch + (2 if batch == 5 else 3))
    content = {
      'batch_label': f'batch {batch}',
      'labels': [i % 10 for i in rows],
      'data': np.stack([pixels(i, 32, 32, 3).transpose(2, 0, 1).reshape(-1) for i in rows]),
      'filenames': [f'{i}.png' for i in rows],
    }
    (root / ('test_batch' if batch == 5 else f'data_batch_{batch + 1}')).write_bytes(pickle.dumps(content, protocol))
  meta = {'label_names': list('abcdefghij'), 'num_vis': 3072}
  (root / 'batches.meta').write_bytes(pickle.dumps(meta, protocol))
  return root


@pytest.mark.parametrize('protocol', [2, 5])
def test_cifar10(tmp_path, protocol):
  data, truth = load('cifar', cifar10(tmp_path / 'cifar-10-batches-py', protocol))
  np.testing.assert_array_equal(data.images, [pixels(i, 32, 32, 3) for i in range(17)])
  assert data.given.tolist() == truth.tolist() == [i % 10 for i in range(17)]
  assert data.classes == tuple('abcdefghij')
  assert np.flatnonzero(data.test).tolist() == [15, 16]
  assert data.names[[0, 14, 15]].tolist() == ['train_00000', 'train_00014', 'test_00000']


def test_cifar10_in_its_archive(tmp_path):
  root = cifar10(tmp_path / 'cifar-10-batches-py')
  with tarfile.open(tmp_path / 'cifar-10-python.tar.gz', 'w:gz') as archive:
    archive.add(root, root.name)
  assert load('cifar', tmp_path / 'cifar-10-python.tar.gz')[0].fingerprint == load('cifar', root)[0].fingerprint


def test_cifar100_takes_the_fine_labels(tmp_path):
  for file, rows in (('train', range(4)), ('test', range(4, 6))):
    content = {
      b'fine_labels': [90 + i for i in rows],  # as loaded by encoding='bytes' and written again
      b'coarse_labels': [i for i in rows],
      b'data': np.stack([pixels(i, 3072) for i in rows]),
    }
    (tmp_path / file).write_bytes(pickle.dumps(content))
  names = {'fine_label_names': [f'fine {i}' for i in range(100)], 'coarse_label_names': ['coarse'] * 20}
  (tmp_path / 'meta').write_bytes(pickle.dumps(names))
  data, truth = load('cifar', tmp_path)
  assert data.given.tolist() == truth.tolist() == [90, 91, 92, 93, 94, 95]
  assert data.classes[90] == 'fine 90' and np.flatnonzero(data.test).tolist() == [4, 5]


def test_a_hostile_batch_is_refused_by_name_and_runs_nothing(tmp_path):
  class Trap:
    def __reduce__(self):
      return (open, (str(tmp_path / 'sprung'), 'w'))

  root = cifar10(tmp_path / 'c')
  (root / 'data_batch_3').write_bytes(pickle.dumps({'data': Trap(), 'labels': [0]}))
  with pytest.raises(UserError, match=r'c/data_batch_3: refers to (_io|io)\.open.*no code was run'):
    load('cifar', root)
  assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(
  'change, said',
  [
    (lambda root: (root / 'data_batch_4').unlink(), r'has no data_batch_4 \(batches.meta, data_batch_1'),
    (lambda root: (root / 'test_batch').write_bytes(pickle.dumps([1])), 'test_batch: holds a list; expected a dict'),
    (
      lambda root: (root / 'test_batch').write_bytes(pickle.dumps({'data': 1})),
      "has no list 'labels'; its keys are data",
    ),
    (
      lambda root: (root / 'test_batch').write_bytes(
        pickle.dumps({'data': np.zeros((2, 9), np.uint8), 'labels': [0, 1]})
      ),
      r'data is uint8 \(2, 9\); expected uint8 \(2, 3072\)',
    ),
    (lambda root: (root / 'batches.meta').write_bytes(b'\x80\x02}q'), 'batches.meta: cannot be read as a pickle'),
  ],
)
def test_cifar_that_is_not_whole(tmp_path, change, said):
  change(root := cifar10(tmp_path / 'c'))
  with pytest.raises(UserError, match=said):
    load('cifar', root)


# CIFAR-N.


def human(path: Path, content: dict) -> Path:
  """Writes a dictionary as PyTorch does, without PyTorch: an uncompressed zip with data.pkl."""
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('archive/data.pkl', pickle.dumps(content, 2))
    archive.writestr('archive/version', '3\n')
  return path


WORSE = [(i + 1) % 10 for i in range(15)]
HUMAN = {
  'clean_label': np.array([i % 10 for i in range(15)]),
  'worse_label': np.array(WORSE),
  'random_label1': np.arange(15) % 3,
}


@pytest.mark.parametrize('form', ['pt', 'npy', 'pkl', 'npz'])
def test_a_column_of_cifar10n(tmp_path, form):
  file = tmp_path / f'CIFAR-10_human.{form}'
  if form == 'pt':
    human(file, HUMAN)
  elif form == 'pkl':
    file.write_bytes(pickle.dumps({key: value.tolist() for key, value in HUMAN.items()}))
  elif form == 'npy':  # lists of NumPy scalars, as CIFAR-10_human_ordered.npy holds
    np.save(file, np.array({key: list(value) for key, value in HUMAN.items()}), allow_pickle=True)
  else:
    np.savez(file, **HUMAN)
  assert label_file.read_labels(file, name='worse_label').tolist() == WORSE
  assert label_file.read_column(file, label_column='random_label1').labels[:4] == ['0', '1', '2', '0']
  with pytest.raises(
    UserError, match=r'holds clean_label, worse_label, random_label1; name one of them .*noise\.column'
  ):
    label_file.read_labels(file)
  with pytest.raises(UserError, match=r"random_label1, and no 'worst_label'; name one"):
    label_file.read_labels(file, name='worst_label')


def test_cifar10n_is_noise_on_cifar10(tmp_path):
  config = get_config()
  config.data.source, config.data.path = 'cifar', str(cifar10(tmp_path / 'c'))
  config.noise.kind, config.noise.column = 'file', 'worse_label'
  config.noise.path = str(human(tmp_path / 'CIFAR-10_human.pt', HUMAN))
  config.data.val, config.data.test, config.data.verified = '', 'source', ''
  prepared, audit = prepare.prepare(config)
  assert prepared.data.given.tolist() == WORSE + [5, 6]  # the test part keeps its labels
  assert audit.truth.tolist() == [i % 10 for i in range(17)]
  assert audit.noise['realised'] == 1 and 'the column worse_label of' in prepared.record['noise']['definition']
  config.noise.path = str(human(tmp_path / 'CIFAR-100_human.pt', {'noisy_label': np.arange(15) % 10}))
  config.noise.column = ''  # the only one
  assert prepare.prepare(config)[0].data.given[:3].tolist() == [0, 1, 2]


def test_a_hostile_label_file_is_refused_by_name_and_runs_nothing(tmp_path):
  class Trap:
    def __reduce__(self):
      return (open, (str(tmp_path / 'sprung'), 'w'))

  np.save(tmp_path / 'a.npy', np.array([Trap()]), allow_pickle=True)
  (tmp_path / 'a.pkl').write_bytes(pickle.dumps(Trap()))
  for file in (human(tmp_path / 'a.pt', {'worse_label': Trap()}), tmp_path / 'a.npy', tmp_path / 'a.pkl'):
    with pytest.raises(UserError, match=rf'{file.name}: refers to (_io|io)\.open.*no code was run'):
      label_file.read_labels(file)
  assert not (tmp_path / 'sprung').exists()


# IDX.


def idx(path: Path, array: np.ndarray) -> None:
  data = struct.pack(f'>BBBB{array.ndim}I', 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(gzip.compress(data) if path.suffix == '.gz' else data)


def mnist(root: Path, dash: str = '-', end: str = '') -> Path:
  for part, start, stop in (('train', 0, 5), ('t10k', 5, 7)):
    idx(root / f'{part}-images{dash}idx3-ubyte{end}', np.stack([pixels(i, 6, 5) for i in range(start, stop)]))
    idx(root / f'{part}-labels{dash}idx1-ubyte{end}', np.arange(start, stop, dtype=np.uint8))
  return root


@pytest.mark.parametrize('dash', ['-', '.'])
@pytest.mark.parametrize('end', ['', '.gz'])
def test_idx(tmp_path, dash, end):
  data, truth = load('idx', mnist(tmp_path / 'mnist', dash, end))
  np.testing.assert_array_equal(data.images[..., 0], [pixels(i, 6, 5) for i in range(7)])
  assert data.given.tolist() == truth.tolist() == list(range(7))
  assert data.classes == tuple('0123456') and np.flatnonzero(data.test).tolist() == [5, 6]


def test_idx_that_is_not_whole(tmp_path):
  root = mnist(tmp_path / 'mnist')
  whole = (root / 'train-images-idx3-ubyte').read_bytes()
  for content, said in (
    (whole[:-1], r'has 149 numbers or more for the shape \(5, 6, 5\)'),
    (whole + b'x', 'has 151 numbers or more'),
    (b'\0' + whole, 'it begins with 00000008 instead of 00000803'),
    (gzip.compress(whole)[:-9], 'Compressed file ended'),
    (whole[:10], 'cannot be read as IDX'),
  ):
    (root / 'train-images-idx3-ubyte').write_bytes(content)
    with pytest.raises(UserError, match=f'train-images-idx3-ubyte: .*{said}'):
      load('idx', root)
  (root / 'train-images-idx3-ubyte').unlink()
  with pytest.raises(UserError, match=r'has no train-images-idx3-ubyte, plain or with .gz \(t10k-images'):
    load('idx', root)
  root = mnist(tmp_path / 'other')
  idx(root / 't10k-labels-idx1-ubyte', np.zeros(3, np.uint8))
  with pytest.raises(UserError, match='t10k has 2 images and 3 labels'):
    load('idx', root)


# Lists of images.


def animal10n(root: Path) -> Path:
  for name, seed in (
    ('training/0_1.jpg', 1),
    ('training/1_2.jpg', 2),
    ('training/9_30.jpg', 3),
    ('testing/4_1.jpg', 4),
  ):
    jpg(root / name, seed)
  return root


def test_animal10n(tmp_path):
  root = animal10n(tmp_path / 'a')
  with zipfile.ZipFile(tmp_path / 'raw_image.zip', 'w') as archive:
    for path in root.rglob('*.jpg'):
      archive.write(path, path.relative_to(root))
  for path in (root, tmp_path / 'raw_image.zip'):
    data, truth = load('animal10n', path)
    assert labels_of(data, truth) == {
      'testing/4_1.jpg': [4, -1, 4, 'test'],
      'training/0_1.jpg': [0, -1, -1, 'train'],
      'training/1_2.jpg': [1, -1, -1, 'train'],
      'training/9_30.jpg': [9, -1, -1, 'train'],
    }
    assert data.classes[4] == 'cheetah' and len(data.classes) == 10
  jpg(root / 'training' / 'cat.jpg', 5)
  with pytest.raises(UserError, match=r"the image 'training/cat.jpg' is not one of ANIMAL-10N"):
    load('animal10n', root)


def clothing1m(root: Path, images: str = 'images/') -> Path:
  for i in range(6):
    jpg(root / f'{images}{i}/{i}.jpg', i)
  noisy = {0: 3, 1: 0, 2: 5, 4: 7}
  lines(root / 'noisy_label_kv.txt', *(f'images/{i}/{i}.jpg {label}' for i, label in noisy.items()))
  lines(root / 'clean_label_kv.txt', *(f'images/{i}/{i}.jpg {label}' for i, label in {2: 6, 3: 1, 4: 2, 5: 13}.items()))
  for name, rows in {'noisy_train': (0, 1, 4), 'clean_train': (2, 3), 'clean_val': (4,), 'clean_test': (5,)}.items():
    lines(root / f'{name}_key_list.txt', *(f'images/{i}/{i}.jpg' for i in rows))
  return root


@pytest.mark.parametrize('images', ['images/', ''])
def test_clothing1m(tmp_path, images):
  data, truth = load('clothing1m', clothing1m(tmp_path / 'c', images))
  assert labels_of(data, truth) == {
    f'{images}0/0.jpg': [3, -1, -1, 'train'],
    f'{images}1/1.jpg': [0, -1, -1, 'train'],
    f'{images}2/2.jpg': [5, 6, -1, 'train'],
    f'{images}3/3.jpg': [-1, 1, -1, 'train'],  # only people labeled it
    f'{images}4/4.jpg': [7, 2, -1, 'val'],  # listed for training, too
    f'{images}5/5.jpg': [-1, -1, 13, 'test'],  # no test label is legal
  }
  assert data.classes[3] == 'Chiffon'


def test_clothing1m_with_its_lists_in_a_folder_and_other_names(tmp_path):
  root = clothing1m(tmp_path / 'c')
  (root / 'annotations').mkdir()
  for file in root.glob('*.txt'):
    file.rename(root / 'annotations' / file.name)
  lines(root / 'annotations' / 'category_names_eng.txt', *(f'class {i}' for i in range(14)))
  assert load('clothing1m', root)[0].classes[13] == 'class 13'
  lines(root / 'annotations' / 'noisy_label_kv.txt', 'images/0/0.jpg 3', 'images/1/1.jpg 14')
  with pytest.raises(UserError, match=r"noisy_label_kv.txt: row 2: 'images/1/1.jpg 14'; expected .* label in 0..13"):
    load('clothing1m', root)
  (root / 'annotations' / 'clean_val_key_list.txt').unlink()
  lines(root / 'annotations' / 'noisy_label_kv.txt', *(f'images/{i}/{i}.jpg 3' for i in (0, 1, 4)))
  with pytest.raises(UserError, match=r"annotations: has no file 'clean_val_key_list.txt' \(category_names_eng.txt"):
    load('clothing1m', root)


def test_listed_images_that_are_missing_are_named_or_left_out(tmp_path):
  root = clothing1m(tmp_path / 'c')
  (root / 'images/1/1.jpg').unlink()
  with pytest.raises(UserError, match=r'images/1/1.jpg: missing'):
    load('clothing1m', root)
  data, _ = load('clothing1m', root, skip_bad=True)
  assert data.names.tolist() == [f'images/{i}/{i}.jpg' for i in (0, 4, 2, 3, 5)]
  assert data.given.tolist() == [3, 7, 5, -1, -1]


def webvision(root: Path) -> Path:
  train = {'google/q0001/a.jpg': 0, 'google/q0002/b.jpg': 49, 'google/q0100/c d.jpg': 50}
  for seed, name in enumerate([*train, 'flickr/q0001/e.jpg', 'val_images_256/v1.jpg', 'val_images_256/v2.jpg']):
    jpg(root / name, seed)
  lines(root / 'info/train_filelist_google.txt', *(f'{name} {label}' for name, label in train.items()))
  lines(root / 'info/train_filelist_flickr.txt', 'flickr/q0001/e.jpg 7')
  lines(root / 'info/val_filelist.txt', 'v1.jpg 49', 'v2.jpg 999')
  lines(root / 'info/synsets.txt', *(f'n{i:08d} name {i}, other' for i in range(1000)))
  return root


def test_webvision(tmp_path):
  root = webvision(tmp_path / 'w')
  data, truth = load('webvision', root, name='mini')
  assert labels_of(data, truth) == {
    'google/q0001/a.jpg': [0, -1, -1, 'train'],
    'google/q0002/b.jpg': [49, -1, -1, 'train'],
    'val_images_256/v1.jpg': [49, -1, 49, 'test'],
  }
  assert len(data.classes) == 50 and data.classes[49] == 'n00000049 name 49, other'
  data, _ = load('webvision', root, name='google')
  assert data.given.tolist() == [0, 49, 50, 49, 999] and len(data.classes) == 1000
  assert load('webvision', root, name='flickr')[0].names[0] == 'flickr/q0001/e.jpg'
  with pytest.raises(UserError, match=r"data.name: unknown value 'bing'.*Choices: all, flickr, google, mini"):
    load('webvision', root, name='bing')


def cnwl(root: Path) -> Path:
  for seed, name in enumerate(
    ('all_images/n01.jpg', 'all_images/5922.jpg', 'noisy_images/77.jpg', 'validation/3/v.jpg')
  ):
    jpg(root / name, seed)
  lines(root / 'split/red_noise_nl_0.2', 'n01.jpg 0', '5922.jpg 3')
  lines(root / 'split/red_noise_nl_0.4', '77.jpg 0', '5922.jpg 3')
  lines(root / 'split/clean_validation', 'v.jpg 3')
  return root


def test_cnwl(tmp_path):
  root = cnwl(tmp_path / 'mini-imagenet')
  data, truth = load('cnwl', root, name='red_noise_nl_0.4')
  assert labels_of(data, truth) == {
    'noisy_images/77.jpg': [0, -1, -1, 'train'],
    'all_images/5922.jpg': [3, -1, -1, 'train'],
    'validation/3/v.jpg': [3, -1, 3, 'test'],
  }
  with pytest.raises(UserError, match=r"unknown value 'red_noise_nl_0.9'.*Choices: red_noise_nl_0.2, red_noise_nl_0.4"):
    load('cnwl', root, name='red_noise_nl_0.9')


def food101n(root: Path) -> Path:
  keys = ['apple_pie/a.jpg', 'apple_pie/b.jpg', 'sushi/c.jpg', 'sushi/d.jpg', 'sushi/e.jpg']
  for seed, key in enumerate(keys):
    jpg(root / 'images' / key, seed)
  lines(root / 'meta/classes.txt', 'class_name', 'apple_pie', 'sushi')
  lines(root / 'meta/imagelist.tsv', 'class_name/key', *keys)
  header = 'class_name/key\tverification_label'
  lines(root / 'meta/verified_train.tsv', header, 'apple_pie/a.jpg\t1', 'sushi/c.jpg\t0')
  lines(root / 'meta/verified_val.tsv', header, 'sushi/d.jpg\t1', 'sushi/e.jpg\t0')
  return root


def test_food101n(tmp_path):
  root = food101n(tmp_path / 'f' / 'Food-101N_release')
  want = {
    'images/apple_pie/a.jpg': [0, 0, -1, 'train'],
    'images/apple_pie/b.jpg': [0, -1, -1, 'train'],
    'images/sushi/c.jpg': [1, -1, -1, 'train'],  # found wrong: what it shows is unknown
    'images/sushi/d.jpg': [1, 1, -1, 'val'],
    'images/sushi/e.jpg': [1, -1, -1, 'train'],
  }
  data, truth = load('food101n', root)
  assert labels_of(data, truth) == want and data.classes == ('apple_pie', 'sushi')
  jpg(tmp_path / 'f/food-101/images/sushi/7.jpg', 9)
  jpg(tmp_path / 'f/food-101/images/sushi/8.jpg', 8)  # of its training part, which is not read
  lines(tmp_path / 'f/food-101/meta/test.txt', 'sushi/7')
  test = {'food-101/images/sushi/7.jpg': [1, -1, 1, 'test']}
  both = load('food101n', tmp_path / 'f')
  assert labels_of(*both) == {f'Food-101N_release/{name}': row for name, row in want.items()} | test
  lines(root / 'meta/verified_train.tsv', 'class_name/key', 'apple_pie/a.jpg 1')
  with pytest.raises(UserError, match=r"verified_train.tsv: row 2: 'apple_pie/a.jpg 1'; expected a path, a tab"):
    load('food101n', root)
  food101n(root)
  lines(root / 'meta/imagelist.tsv', 'class_name/key', 'apple_pie/a.jpg', 'sushi/d.jpg', 'pizza/a.jpg')
  with pytest.raises(UserError, match=r"imagelist.tsv: row 4: 'pizza/a.jpg'; .*a class of apple_pie, sushi"):
    load('food101n', root)


# Copies that differ from what is published, as downloads do.

MAKE = {
  'animal10n': animal10n,
  'clothing1m': clothing1m,
  'webvision': webvision,
  'cnwl': cnwl,
  'food101n': food101n,
  'cifar': cifar10,
  'idx': mnist,
}
NAMES = {'webvision': 'mini', 'cnwl': 'red_noise_nl_0.4'}


def content(source: str, path: Path) -> tuple:
  """Returns rows, labels, parts and classes, with the names without the folders around the data set."""
  data, truth = load(source, path, name=NAMES.get(source, ''))
  return labels_of(data, truth), data.classes, data.fingerprint


@pytest.mark.parametrize('source', MAKE)
def test_folders_around_a_data_set_and_files_beside_it_change_nothing(tmp_path, source):
  """Unpacking leaves folders and readmes; Windows leaves its line ends, editors a mark or no last line end."""
  want = content(source, MAKE[source](tmp_path / source))
  root = MAKE[source](tmp_path / 'outer' / 'inner' / source)
  for place in (root, root.parent, tmp_path / 'outer'):
    (place / 'README.md').write_text('Read me.')
    (place / 'readme.html').write_text('<p>')
    (place / '.DS_Store').write_bytes(b'\0')
    (place / '__MACOSX').mkdir()
  lists = [path for path in root.rglob('*') if path.suffix in ('.txt', '.tsv') or path.parent.name == 'split']
  for path in lists:
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes().replace(b'\n', b'\r\n').rstrip())
  assert content(source, root) == want
  assert content(source, tmp_path / 'outer') == want
  with pytest.raises(UserError, match=rf'published data set {source}, .*data.path={tmp_path}/outer'):
    load('folders', tmp_path / 'outer')


def test_animal10n_in_a_tar_or_deeper_in_a_zip_is_no_tree_of_two_classes(tmp_path):
  root = animal10n(tmp_path / 'a')
  want = content('animal10n', root)[0]
  with tarfile.open(tmp_path / 'a.tar.gz', 'w:gz') as archive:
    archive.add(root, 'raw')
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    archive.writestr('__MACOSX/x', '')
    archive.writestr('readme.txt', '')
    for path in root.rglob('*.jpg'):
      archive.write(path, f'data/raw/{path.relative_to(root)}')
  for name in ('a.tar.gz', 'a.zip'):
    found = content('animal10n', tmp_path / name)[0]
    assert {key.removeprefix('raw/'): row for key, row in found.items()} == want
    with pytest.raises(UserError, match=r'data\.source=animal10n'):
      load('folders', tmp_path / name)


def test_suffixes_in_capitals(tmp_path):
  root = animal10n(tmp_path / 'a')
  (root / 'training/0_1.jpg').rename(root / 'training/0_1.JPG')
  assert labels_of(*load('animal10n', root))['training/0_1.JPG'] == [0, -1, -1, 'train']


def test_an_archive_of_two_data_sets_is_not_mixed(tmp_path):
  for number, name in enumerate(('MNIST', 'FashionMNIST')):
    root = mnist(tmp_path / name)
    idx(root / 'train-labels-idx1-ubyte', np.full(5, number, np.uint8))
  with zipfile.ZipFile(tmp_path / 'both.zip', 'w') as archive:
    for path in [*(tmp_path / 'MNIST').iterdir(), *(tmp_path / 'FashionMNIST').iterdir()]:
      archive.write(path, path.relative_to(tmp_path))
  with pytest.raises(UserError, match=r'both.zip: has .*MNIST/train-images-idx3-ubyte.*expected one data set'):
    load('idx', tmp_path / 'both.zip')
  root = cifar10(tmp_path / 'c')
  (root / 'train').write_bytes(b'')
  with pytest.raises(UserError, match=r'has CIFAR-10 and CIFAR-100; expected one data set'):
    load('cifar', root)


@pytest.mark.parametrize('end', ['', '.gz'])
def test_the_content_says_whether_idx_is_compressed(tmp_path, end):
  root = mnist(tmp_path / 'mnist', end=end)
  want = content('idx', root)
  for path in root.iterdir():
    path.write_bytes(gzip.decompress(path.read_bytes()) if end else gzip.compress(path.read_bytes()))
  assert content('idx', root) == want


@pytest.mark.parametrize('protocol', [0, 2])
def test_cifar_written_again_with_bytes_as_keys_and_arrays_as_labels(tmp_path, protocol):
  root = cifar10(tmp_path / 'c')
  want = content('cifar', root)
  for path in root.iterdir():
    batch = pickle.loads(path.read_bytes())
    again = {key.encode(): np.array(value) if key == 'labels' else value for key, value in batch.items()}
    again |= {key: [text.encode() for text in again[key]] for key in (b'label_names', b'filenames') if key in again}
    path.write_bytes(pickle.dumps(again, protocol))
  assert content('cifar', root) == want


def test_labels_beyond_the_classes_are_refused(tmp_path):
  root = cifar10(tmp_path / 'c')
  batch = pickle.loads((root / 'test_batch').read_bytes())
  (root / 'test_batch').write_bytes(pickle.dumps(batch | {'labels': [3, 10]}))
  with pytest.raises(UserError, match='10'):
    load('cifar', root)


def torch_before_1_6(path: Path, made: dict, protocol: int) -> Path:
  """Writes a dictionary of lists as PyTorch did before 1.6: pickles one after the other."""
  system = {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
  path.write_bytes(b''.join(pickle.dumps(part, protocol) for part in (0x1950A86A20F9469CFC6C, 1001, system, made, [])))
  return path


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_cifar10n_as_other_versions_of_pytorch_write_it(tmp_path, protocol):
  plain = {key: value.tolist() for key, value in HUMAN.items()}
  old = torch_before_1_6(tmp_path / 'old.pt', plain, protocol)
  new = tmp_path / 'CIFAR-10_human.PT'
  with zipfile.ZipFile(new, 'w') as archive:
    archive.writestr('CIFAR-10_human/data.pkl', pickle.dumps(HUMAN, protocol))
    for name, text in {'.format_version': '1', '.storage_alignment': '64', 'byteorder': 'little'}.items():
      archive.writestr(f'CIFAR-10_human/{name}', text)
    archive.writestr('CIFAR-10_human/version', '3\n')
    archive.writestr('CIFAR-10_human/.data/serialization_id', '0' * 40)
  for file in (old, new):
    assert label_file.read_labels(file, name='worse_label').tolist() == WORSE


def test_lists_with_tabs(tmp_path):
  root = webvision(tmp_path / 'w')
  want = content('webvision', root)
  path = root / 'info/train_filelist_google.txt'
  path.write_text(''.join('\t'.join(line.rsplit(' ', 1)) + '\n' for line in path.read_text().splitlines()))
  assert content('webvision', root) == want


@pytest.mark.parametrize('part, file', [('noisy_train', 'noisy'), ('clean_val', 'clean'), ('clean_test', 'clean')])
def test_a_listed_image_of_clothing1m_without_its_label_is_named(tmp_path, part, file):
  """As once silently, without a label, where the lists and the labels wrote paths differently."""
  root = clothing1m(tmp_path / 'c')
  lines(root / f'{part}_key_list.txt', 'images/9/9.jpg')
  with pytest.raises(UserError, match=rf"{file}_label_kv.txt: has no label of 'images/9/9.jpg', which {part}_key_list"):
    load('clothing1m', root)


def test_food101n_without_headers_keeps_its_first_rows(tmp_path):
  root = food101n(tmp_path / 'f')
  want = content('food101n', root)
  for name in ('classes.txt', 'imagelist.tsv', 'verified_train.tsv', 'verified_val.tsv'):
    path = root / 'meta' / name
    path.write_text(path.read_text().partition('\n')[2])
  assert content('food101n', root) == want
  lines(root / 'meta/verified_train.tsv', 'images/apple_pie/a.jpg\t1')
  with pytest.raises(UserError, match=r"verified_train.tsv names no image of imagelist.tsv: 'images/apple_pie/a.jpg'"):
    load('food101n', root)


# What is not read as folders of classes.


@pytest.mark.parametrize('source', MAKE)
def test_folders_name_the_source_of_a_published_layout(tmp_path, source):
  root = MAKE[source](tmp_path / 'd')
  with pytest.raises(UserError, match=rf'published data set {source}, .*data.source={source} and data.path={root}\.'):
    load('folders', root)


def test_folders_no_longer_load_animal10n_as_two_classes(tmp_path):
  """Once its parts were classes, and its test images were trained on."""
  root = animal10n(tmp_path / 'a')
  for path in (root, root / 'training'):
    with pytest.raises(UserError, match=rf'data.source=animal10n and data.path={root}\.'):
      load('folders', path)
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as archive:
    for path in root.rglob('*.jpg'):
      archive.write(path, f'raw_image/{path.relative_to(root)}')
  (tmp_path / 'raw_image.zip').write_bytes(buffer.getvalue())
  with pytest.raises(UserError, match=r'data\.source=animal10n'):
    load('folders', tmp_path / 'raw_image.zip')
  classes = tmp_path / 'classes'  # beside a published data set, not of it
  for name in ('cat/1.jpg', 'dog/2.jpg'):
    jpg(classes / name, ord(name[0]))
  assert load('folders', classes)[0].classes == ('cat', 'dog')


def test_npz_names_the_source_of_cifar(tmp_path):
  root = cifar10(tmp_path / 'c')
  with pytest.raises(UserError, match=r'data_batch_1: is a pickle, like the batches of CIFAR; .*data.source=cifar'):
    load('npz', root / 'data_batch_1')
