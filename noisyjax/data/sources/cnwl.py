"""Controlled Noisy Web Labels (CNWL), Red and Blue Mini-ImageNet: a share of the images is replaced by wrong ones.

Documented at https://google.github.io/controlled-noisy-web-labels/download.html, and in tensorflow_datasets 4.9.10,
image_classification/controlled_noisy_web_labels/controlled_noisy_web_labels.py, `MANUAL_DOWNLOAD_INSTRUCTIONS` and
`_split_generators`. The folder holds `split/`, with lists of lines "n0153282900000005.jpg 0": `red_noise_nl_0.4` (red:
images of the web; blue: of Mini-ImageNet; the number is the share) and `clean_validation`. The images are
downloaded one by one, so their folders vary: they are found by their file names, anywhere below the folder.

`config.name` names a list, such as `red_noise_nl_0.4`. The images of `clean_validation` are the test part, with true
labels, as papers report on them. `mini-imagenet-annotations.json`, which says which images are wrong, is not read.

Paper: Jiang et al., "Beyond Synthetic Noise: Deep Learning on Controlled Noisy Labels", ICML 2020.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, image_list, published
from noisyjax.system import reading
from noisyjax.system.errors import check_choice

MARKS = (('split/clean_validation', 'split/*_noise_nl_*'),)
CLASSES = tuple(str(c) for c in range(100))


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the list `config.name` of the folder `config.path`.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown, except for the test rows.

  Raises:
    UserError: a list is missing or malformed, or images are missing or unreadable and `config.skip_bad` is off.
  """
  root = image_list.folder(config, MARKS)
  split = root / 'split'
  lists = [path.name for path in split.glob('*_noise_nl_*')] if reading.kind(split) == 'folder' else []
  check_choice('data.name', config.name, lists or ['red_noise_nl_0.4'])
  return image_list.load(root, lambda images: _rows(split, images, config.name), CLASSES, config)


def _rows(split: Path, images: Sequence[str], name: str) -> list[image_list.Row]:
  place = {PurePosixPath(image).name: image for image in reversed(images)}  # copies of a file are the same image
  train, val = (published.pairs(split, part, len(CLASSES)) for part in (name, 'clean_validation'))
  rows = [image_list.Row(place.get(key, key), label) for key, label in train.items()]
  return rows + [image_list.Row(place.get(key, key), label, true=label, part='test') for key, label in val.items()]
