"""scikit-learn's handwritten digits: 1,797 gray images of 8 x 8 from UCI's Optdigits, included in its package.

The given labels are the true labels; `config.noise` adds noise to them.
"""

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Returns the digits, uint8 [1797, 8, 8, 1] with 0..16 scaled to 0..255, and the true labels, int32 [1797]."""
  import sklearn.datasets  # imported here, because the search for sources imports this module, and it takes a second

  digits = sklearn.datasets.load_digits()
  images = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
  truth = digits.target.astype(np.int32)
  return dataset.make(images, truth, config.classes or [str(c) for c in range(10)]), truth
