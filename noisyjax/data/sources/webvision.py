"""WebVision 1.0: images that search engines return for the 1,000 classes of ImageNet.

Documented at https://data.vision.ee.ethz.ch/cvl/webvision/README.txt; read also as LiJunnan1992/DivideMix does,
revision d9d3058, dataloader_webvision.py, lines 29-67 and 93-98. The folder holds `google/…`, `flickr/…`,
`val_images_256/…` (or `val_images/…`) and `info/`, with lists of lines "google/q0001/a.jpg 0":
`train_filelist_google.txt`, `train_filelist_flickr.txt`, `train_filelist_all.txt` and `val_filelist.txt` (whose paths
lie in the folder of validation images), and optional `synsets.txt`, which names the classes.

`config.name` says which: `google`, `flickr`, `all`, or `mini`, which is the first 50 classes of `google`. The
validation images were labeled by people, and papers report on them: they are the test part, with true labels. The
labels of the official test images were never published.

Paper: Li et al., "WebVision Database: Visual Learning and Understanding from Web Data", 2017.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, image_list, published
from noisyjax.system import reading
from noisyjax.system.errors import check_choice

MARKS = (('info/train_filelist_google.txt',), ('info/train_filelist_flickr.txt',), ('info/train_filelist_all.txt',))
LISTS = {'mini': ('google', 50), 'google': ('google', 1000), 'flickr': ('flickr', 1000), 'all': ('all', 1000)}


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the part `config.name` of the folder `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown, except for the test rows.

  Raises:
    UserError: a list is missing or malformed, or images are missing or unreadable and `config.skip_bad` is off.
  """
  root = image_list.folder(config, MARKS)
  name, classes = LISTS[check_choice('data.name', config.name, LISTS)]
  names = [str(c) for c in range(classes)]
  if reading.kind(root / 'info' / 'synsets.txt'):  # lines "n01440764 tench, Tinca tinca"
    lines = published.text_of(root / 'info', 'synsets.txt')[:classes]
    names = [line.strip() for line in lines]
  return image_list.load(root, lambda images: _rows(root, images, name, classes), names, config)


def _rows(root: Path, images: Sequence[str], name: str, classes: int) -> list[image_list.Row]:
  train, val = (
    published.pairs(root / 'info', f'{part}.txt', 1000) for part in (f'train_filelist_{name}', 'val_filelist')
  )
  folder = 'val_images_256/' if any(image.startswith('val_images_256/') for image in images) else 'val_images/'
  rows = [image_list.Row(key, label) for key, label in train.items() if label < classes]
  tests = {folder + key: label for key, label in val.items() if label < classes}
  return rows + [image_list.Row(image, label, true=label, part='test') for image, label in tests.items()]
