"""ANIMAL-10N: photos of ten animals that are easily confused, labeled by people; about 8 % of the labels are wrong.

Documented at https://dm.kaist.ac.kr/datasets/animal-10n, raw image version: a folder or zip with `training/` (50,000)
and `testing/` (5,000 images), named by their label and a number, such as `training/0_7.jpg`. The test images are those
whose label agrees with the search word, so their labels count as true. Paper: Song et al., "SELFIE: Refurbishing
Unclean Samples for Robust Deep Learning", ICML 2019.
"""

import re
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, image_list, published
from noisyjax.system import reading
from noisyjax.system.errors import UserError

MARKS = (('training/[0-9]_*', 'testing/[0-9]_*'),)
CLASSES = (
  'cat',
  'lynx',
  'wolf',
  'coyote',
  'cheetah',
  'jaguar',
  'chimpanzee',
  'orangutan',
  'hamster',
  'guinea pig',
)
_NAME = re.compile(r'(?:.*/)?(training|testing)/([0-9])_[^/]*')


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the folder or zip `config.path`: training and testing images, the latter as the test part.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown, as for all training images.

  Raises:
    UserError: an image is not named as described, or is unreadable and `config.skip_bad` is off.
  """
  root = published.top(reading.path_of(config.path, 'data.path'), MARKS)
  return image_list.load(root, _rows, CLASSES, config)


def _rows(names: Sequence[str]) -> list[image_list.Row]:
  rows = []
  for name in names:
    found = _NAME.fullmatch(name)
    if not found:
      raise UserError(
        f'data.path: the image {name!r} is not one of ANIMAL-10N; expected such as training/0_7.jpg. Move it elsewhere.'
      )
    label, test = int(found[2]), found[1] == 'testing'
    rows.append(image_list.Row(name, label, true=label if test else -1, part='test' if test else 'train'))
  return rows
