"""scikit-learn's handwritten digits (1,797 grays of 8 x 8 from UCI's Optdigits): embedded, no download.

Given labels are the true ones; noise is `config.noise`'s to add.
"""

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Returns the digits as uint8 [1797, 8, 8, 1], their 0..16 spread over 0..255, and the truth int32 [1797]."""
  import sklearn.datasets  # here, not above: looking for a source imports every module, and this one takes a second

  digits = sklearn.datasets.load_digits()
  images = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
  truth = digits.target.astype(np.int32)
  return dataset.make(images, truth, config.classes or [str(c) for c in range(10)]), truth
