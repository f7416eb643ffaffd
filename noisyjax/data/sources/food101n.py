"""Food-101N: 310,000 photos of 101 dishes from the web, about 20 % of the labels wrong, 57,000 of them checked.

Documented at https://kuanghuei.github.io/Food-101N. The folder `Food-101N_release` holds `images/CLASS/KEY.jpg` and
`meta/`, with

* `classes.txt`: a header `class_name`, then the classes, in the order of their numbers;
* `imagelist.tsv`: a header `class_name/key`, then a path "apple_pie/a.jpg" a row;
* `verified_train.tsv` and `verified_val.tsv`: a header, then a path and 1 (the class is right) or 0 (it is wrong).

A class that was found right is a verified label. One that was found wrong is left as it was given: the check does not
say what the image shows. The checked images of `verified_val` that are right are the validation part.

The test part is that of Food-101, with true labels: unpack `food-101` (`images/`, `meta/test.txt`) beside or into the
folder, and let `config.path` be the folder that holds both. Without it there is no test part.

Paper: Lee et al., "CleanNet: Transfer Learning for Scalable Image Classifier Training with Label Noise", CVPR 2018.
"""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, image_list, published
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

MARKS = (
  ('meta/imagelist.tsv', 'meta/verified_train.tsv'),
  ('Food-101N_release/meta/imagelist.tsv', 'Food-101N_release/meta/verified_train.tsv'),
)


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the folder `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown, except for the test rows.

  Raises:
    UserError: a list is missing or malformed, or images are missing or unreadable and `config.skip_bad` is off.
  """
  root = image_list.folder(config, MARKS)
  base = root / 'Food-101N_release' if reading.kind(root / 'Food-101N_release') else root
  classes = [line.strip() for line in published.text_of(base / 'meta', 'classes.txt')]
  classes = classes[_headed(classes) :]
  return image_list.load(root, lambda _: _rows(root, base, classes), classes, config)


def _rows(root: Path, base: Path, classes: list[str]) -> list[image_list.Row]:
  meta, number = base / 'meta', {name: c for c, name in enumerate(classes)}
  checked = {part: _checked(meta, f'verified_{part}.tsv') for part in ('train', 'val')}
  folder = '' if base == root else f'{base.name}/'
  rows, keys = [], [line.strip() for line in published.text_of(meta, 'imagelist.tsv')]
  for part, found in checked.items():
    if found and not found.keys() & set(keys):
      raise UserError(
        f'{meta}: verified_{part}.tsv names no image of imagelist.tsv: {next(iter(found))!r} is not among '
        f'{listed(keys)}. Expected the same paths in both.'
      )
  start = _headed(keys)
  for row, key in enumerate(keys[start:], start + 1):
    label = _label(number, key, meta / 'imagelist.tsv', row)
    right = {part: found.get(key) is True for part, found in checked.items()}
    verified = label if any(right.values()) else -1
    rows.append(image_list.Row(f'{folder}images/{key}', label, verified, part='val' if right['val'] else 'train'))
  test = root / 'food-101' / 'meta'
  if reading.kind(test / 'test.txt'):
    for row, line in enumerate(published.text_of(test, 'test.txt'), 1):
      label = _label(number, line.strip(), test / 'test.txt', row)
      rows.append(image_list.Row(f'food-101/images/{line.strip()}.jpg', label, true=label, part='test'))
  return rows


def _headed(lines: list[str]) -> int:
  """Returns the number of lines of the header: 1, or 0 in a copy without it."""
  return int(lines[:1] != [] and lines[0].startswith('class_name'))


def _label(number: dict[str, int], key: str, path: Path, row: int) -> int:
  """Returns the class of a path "apple_pie/a.jpg"."""
  name = key.partition('/')[0]
  if name not in number:
    raise UserError(f'{path}: row {row}: {key!r}; expected CLASS/KEY with a class of {listed(number)}.')
  return number[name]


def _checked(meta: Path, name: str) -> dict[str, bool]:
  """Returns whether the class of each checked image is right."""
  found, lines = {}, published.text_of(meta, name)
  start = _headed(lines)
  for row, line in enumerate(lines[start:], start + 1):
    key, _, mark = line.strip().rpartition('\t')
    if mark not in ('0', '1'):
      raise UserError(f'{meta / name}: row {row}: {line!r}; expected a path, a tab, and 0 or 1.')
    found[key] = mark == '1'
  return found
