"""The recipes of large published data sets: a tiny copy of each layout is packed and trained on, from end to end."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runs
from noisyjax.config.check import plan_of
from noisyjax.data import pack

CLASSES, EACH, SIDE = 2, 12, 8


def photo(path: Path, label: int, seed: int) -> None:
  """Writes a photo with the brighter half of its class."""
  path.parent.mkdir(parents=True, exist_ok=True)
  image = np.random.default_rng(seed).integers(0, 100, (SIDE, SIDE + 2, 3))
  image[:, label * SIDE // 2 : (label + 1) * SIDE // 2] += 120
  Image.fromarray(image.astype(np.uint8)).save(path, 'jpeg', quality=95)


def lines(path: Path, *text: str) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(f'{line}\n' for line in text))


def rows(part: str) -> list[tuple[int, int]]:
  """Returns the class and number of the photos of a part."""
  start = {'train': 0, 'val': EACH, 'test': 2 * EACH}[part]
  return [(label, start + i) for i in range(EACH) for label in range(CLASSES)]


def clothing1m(root: Path) -> None:
  name = lambda label, i: f'images/{label}/{i}.jpg'
  for row in (*rows('train'), *rows('val'), *rows('test')):
    photo(root / name(*row), row[0], 100 * row[1] + row[0])
  lines(root / 'noisy_label_kv.txt', *(f'{name(*row)} {row[0]}' for row in rows('train')))
  lines(root / 'clean_label_kv.txt', *(f'{name(*row)} {row[0]}' for row in (*rows('val'), *rows('test'))))
  for list_, part in {'noisy_train': 'train', 'clean_val': 'val', 'clean_test': 'test'}.items():
    lines(root / f'{list_}_key_list.txt', *(name(*row) for row in rows(part)))
  lines(root / 'clean_train_key_list.txt')


def webvision(root: Path) -> None:
  train, test = (lambda label, i: f'google/q{label:04d}/{i}.jpg'), (lambda label, i: f'{label}_{i}.jpg')
  for label, i in rows('train'):
    photo(root / train(label, i), label, i)
  for label, i in rows('test'):
    photo(root / 'val_images_256' / test(label, i), label, i)
  lines(root / 'info' / 'train_filelist_google.txt', *(f'{train(*row)} {row[0]}' for row in rows('train')))
  lines(root / 'info' / 'val_filelist.txt', *(f'{test(*row)} {row[0]}' for row in rows('test')))


def food101n(root: Path) -> None:
  dishes, base = ('apple_pie', 'sushi'), root / 'Food-101N_release'
  key = lambda label, i: f'{dishes[label]}/{i}.jpg'
  for row in (*rows('train'), *rows('val')):
    photo(base / 'images' / key(*row), row[0], row[1])
  for label, i in rows('test'):
    photo(root / 'food-101' / 'images' / key(label, i), label, i)
  lines(base / 'meta' / 'classes.txt', 'class_name', *dishes)
  lines(base / 'meta' / 'imagelist.tsv', 'class_name/key', *(key(*r) for part in ('train', 'val') for r in rows(part)))
  header = 'class_name/key\tverification_label'
  lines(base / 'meta' / 'verified_train.tsv', header)
  lines(base / 'meta' / 'verified_val.tsv', header, *(f'{key(*row)}\t1' for row in rows('val')))
  lines(root / 'food-101' / 'meta' / 'test.txt', *(key(*row).removesuffix('.jpg') for row in rows('test')))


LAYOUTS = {'clothing1m': clothing1m, 'webvision': webvision, 'food101n': food101n}
FORMS = [('food101n', ()), ('clothing1m', ('naive',)), ('webvision', ('divide_mix',)), ('clothing1m', ('divide_mix',))]


def recipe(name: str, form: tuple[str, ...]):
  return importlib.import_module(f'configs.large.{name}').get_config(*form)


@pytest.mark.parametrize('name, form', FORMS)
def test_a_recipe_is_valid_as_it_stands_and_says_that_it_never_ran(name, form):
  plan_of(recipe(name, form))
  assert 'Never run here' in importlib.import_module(f'configs.large.{name}').__doc__


@pytest.mark.parametrize('name, form', [FORMS[0], *(pytest.param(*f, marks=pytest.mark.slow) for f in FORMS[1:])])
def test_a_tiny_copy_of_the_layout_is_packed_and_trained_on(name, form, tmp_path, monkeypatch):
  LAYOUTS[name](tmp_path / 'data')
  c = recipe(name, form)
  c.model.name, c.model.mean, c.model.std = 'dense', (), ()
  c.data.size, c.steps_per_epoch, c.epochs, c.batch_size, c.augment.pad = SIDE, 4, 2, 8, 0.125
  c.phases = tuple((method, 1, {**fields, 'batch_size': 8}) for method, _, fields in c.phases)
  c.data.path = str(tmp_path / 'data')
  pack.pack(c.data, tmp_path / 'pack')
  c.data.path = str(tmp_path / 'pack')
  result = runs.fit(c, tmp_path / 'run', monkeypatch)
  assert 0 <= result['audit']['last'] <= 1
  assert result['data']['pixels'].startswith('raw 8x8x3')
  assert result['data']['rows']['train'] >= 22 and result['validation']['rows'] > 0
