"""The baseline of the seed notebook: logistic regression on color histograms, without network or JAX.

The features of an image are, for each channel, the numbers of pixels in `bins` equal intervals of 0..255 (the last one
closed), as `np.histogram` counts them. scikit-learn's LogisticRegression(random_state=0) is fitted to the raw counts.

L-BFGS does not converge on unscaled counts within 100 iterations. The seed used the coefficients at that point, so this
model does too, and it suppresses the warning.
"""

import dataclasses
import warnings
from typing import ClassVar

import numpy as np
import scipy.special
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from noisyjax.system.errors import UserError

_CHUNK = 1024  # images counted at once; limits the temporary int64 arrays to a few dozen MB


@dataclasses.dataclass(frozen=True)
class Model:
  """Logistic regression on histograms; `fit` returns a state (a dict of arrays), which `predict_proba` takes.

  Attributes:
    classes: number of classes.
    bins: number of intervals per channel.
    max_iter: maximum number of L-BFGS iterations.
  """

  raw: ClassVar[bool] = True

  classes: int
  bins: int = 5
  max_iter: int = 100

  def fit(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Fits the labeled rows; rows labeled -1 are ignored.

    Args:
      images: uint8 `[N, H, W, C]`.
      labels: int `[N]`, in [-1, classes).

    Returns:
      coef: float64 `[K, C * bins]`, where K is the number of classes that occur in `labels`, but 1 if two occur, as in
        scikit-learn.
      intercept: float64 `[K]`.
      classes: the classes that occur, in ascending order.

    Raises:
      UserError: fewer than two classes occur.
    """
    labels = np.asarray(labels)
    labeled = labels >= 0
    present = np.unique(labels[labeled])
    if len(present) < 2:
      found = f'only class {present[0]}' if len(present) else 'no labeled row'
      raise UserError(f'model histogram: found {found} among {len(labels)} training rows; expected two or more.')
    regression = LogisticRegression(max_iter=self.max_iter, random_state=0)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', ConvergenceWarning)
      regression.fit(histograms(images, self.bins)[labeled], labels[labeled])
    return {'coef': regression.coef_, 'intercept': regression.intercept_, 'classes': regression.classes_}

  def predict_proba(self, state: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Returns probabilities `[N, classes]`, rows in the order of `images`; classes absent from training get 0."""
    scores = histograms(images, self.bins) @ state['coef'].T + state['intercept']  # [N, K]
    if len(state['coef']) == 1:  # two classes: the only score is the log odds of the second class
      scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    probs = np.zeros((len(images), self.classes))
    probs[:, state['classes']] = scipy.special.softmax(scores, axis=1)
    return probs


def histograms(images: np.ndarray, bins: int) -> np.ndarray:
  """Counts pixels per channel and bin, exactly as `np.histogram(channel, bins=np.linspace(0, 255, bins + 1))`.

  Args:
    images: uint8 `[N, H, W, C]`.
    bins: the number of intervals.

  Returns:
    float64 `[N, C * bins]`: all bins of the first channel, then of the second, and so on.
  """
  edges = np.linspace(0, 255, bins + 1)
  bin_of = np.searchsorted(edges[1:-1], np.arange(256), side='right')  # [256]: bin of each value; the last is closed
  count, height, width, channels = images.shape
  features = np.empty((count, channels * bins))
  for start in range(0, count, _CHUNK):
    chunk = images[start : start + _CHUNK].reshape(-1, height * width, channels)
    first = np.arange(len(chunk) * channels).reshape(-1, 1, channels) * bins  # index of each image and channel's bin 0
    cells = np.bincount((bin_of[chunk] + first).ravel(), minlength=len(chunk) * channels * bins)
    features[start : start + _CHUNK] = cells.reshape(len(chunk), -1)
  return features
