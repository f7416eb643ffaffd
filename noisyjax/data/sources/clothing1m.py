"""Clothing1M: a million photos of clothes with labels from the words around them; some were labeled by people, too.

Documented by its authors, Cysu/noisy_label, revision 2b898c0: README.md, "Clothing1M Experiments", and
data/clothing1M/make_aux_data.py, lines 57-115. The folder holds `images/0/…` to `images/9/…` and, beside them or in
`annotations/`,

* `noisy_label_kv.txt` and `clean_label_kv.txt`, lines "images/0/a.jpg 3": given labels, and those by people;
* `noisy_train_key_list.txt`, `clean_train_key_list.txt`, `clean_val_key_list.txt` and `clean_test_key_list.txt`, lines
  "images/0/a.jpg";
* optional, `category_names_eng.txt`, the 14 classes.

Rows are the images of the four lists, in this order, each once. Those of `clean_test` are the test part, with the
labels by people as true labels. Those of `clean_val` are the validation part: set `val_labels` to `verified`. Labels by
people of all other images are verified labels. An image without a noisy label is unlabeled.

Paper: Xiao et al., "Learning from Massive Noisy Labeled Data for Image Classification", CVPR 2015.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, image_list, published
from noisyjax.system import reading
from noisyjax.system.errors import UserError

MARKS = (('noisy_label_kv.txt', 'clean_label_kv.txt'), ('annotations/noisy_label_kv.txt',))
CLASSES = (
  'T-Shirt',
  'Shirt',
  'Knitwear',
  'Chiffon',
  'Sweater',
  'Hoodie',
  'Windbreaker',
  'Jacket',
  'Down Coat',
  'Suit',
  'Shawl',
  'Dress',
  'Vest',
  'Underwear',
)
_LISTS = {'noisy_train': 'train', 'clean_train': 'train', 'clean_val': 'val', 'clean_test': 'test'}


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the folder `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown, except for the test rows.

  Raises:
    UserError: a list is missing or malformed, or images are missing or unreadable and `config.skip_bad` is off.
  """
  root = image_list.folder(config, MARKS)
  base = root / 'annotations' if reading.kind(root / 'annotations' / 'noisy_label_kv.txt') else root
  names = 'category_names_eng.txt'
  classes = [line.strip() for line in published.text_of(base, names)] if reading.kind(base / names) else CLASSES
  return image_list.load(root, lambda images: _rows(base, images, len(classes)), classes, config)


def _rows(base: Path, images: Sequence[str], classes: int) -> list[image_list.Row]:
  noisy = published.pairs(base, 'noisy_label_kv.txt', classes)
  clean = published.pairs(base, 'clean_label_kv.txt', classes)
  parts: dict[str, str] = {}
  for name, part in _LISTS.items():  # a later part takes precedence, so that no test image is trained on
    keys = [line.strip() for line in published.text_of(base, f'{name}_key_list.txt')]
    file, labels = ('noisy_label_kv.txt', noisy) if name == 'noisy_train' else ('clean_label_kv.txt', clean)
    if lost := next((key for key in keys if key not in labels), ''):
      raise UserError(f'{base / file}: has no label of {lost!r}, which {name}_key_list.txt lists; expected one.')
    parts |= dict.fromkeys(keys, part)
  there = set(images)
  short = not any(key in there for key in parts)  # some unpack the folders 0 to 9 without the folder images
  rows = []
  for key, part in parts.items():
    label, test = clean.get(key, -1), part == 'test'
    image = key.removeprefix('images/') if short else key
    rows.append(image_list.Row(image, noisy.get(key, -1), -1 if test else label, label if test else -1, part))
  return rows
