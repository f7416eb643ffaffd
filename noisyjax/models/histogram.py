"""The seed's baseline: colour histograms and logistic regression. No network, no gradient step, no JAX.

One row per image: for each channel, the number of pixels in each of `bins` equal intervals of 0..255 (the last one
closed), as `np.histogram` counts them; then scikit-learn's LogisticRegression(random_state=0) on the raw counts.

L-BFGS does not converge on unscaled counts within 100 iterations. The seed took what it had by then, so we do too,
and leave its warning out.
"""

import dataclasses
import warnings
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from noisyjax.system.errors import UserError

_CHUNK = 1024  # images counted at once: bounds the int64 scratch at a few dozen MB


@dataclasses.dataclass(frozen=True)
class Model:
  """Histogram + logistic regression; `fit` makes a state (a dict of arrays), `predict_proba` reads it."""

  raw: ClassVar[bool] = True

  classes: int
  bins: int = 5
  max_iter: int = 100

  def fit(self, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Fits on the labeled rows; a row labeled -1 takes no part.

    Args:
      images: uint8 `[N, H, W, C]`.
      labels: int `[N]`, in [-1, classes).

    Returns:
      `coef [K, C * bins]` and `intercept [K]` of the K classes that occur in `labels` (K = 1 row if two occur, as in
      scikit-learn), and `classes [K']`, the classes that occur, ascending.

    Raises:
      UserError: if fewer than two classes occur.
    """
    labels = np.asarray(labels)
    labeled = labels >= 0
    present = np.unique(labels[labeled])
    if len(present) < 2:
      found = f'only class {present[0]}' if len(present) else 'no labeled row'
      raise UserError(f'model histogram: found {found} among {len(labels)} training rows; needs two classes or more.')
    regression = LogisticRegression(max_iter=self.max_iter, random_state=0)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', ConvergenceWarning)
      regression.fit(histograms(images, self.bins)[labeled], labels[labeled])
    return {'coef': regression.coef_, 'intercept': regression.intercept_, 'classes': regression.classes_}

  def predict_proba(self, state: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Returns probabilities `[N, classes]`, rows in the order of `images`; a class that `fit` never saw gets 0."""
    scores = histograms(images, self.bins) @ state['coef'].T + state['intercept']  # [N, K]
    if len(state['coef']) == 1:  # two classes: one score, the log odds of the second
      scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    probs = np.zeros((len(images), self.classes))
    probs[:, state['classes']] = scores / scores.sum(axis=1, keepdims=True)
    return probs


def histograms(images: np.ndarray, bins: int) -> np.ndarray:
  """Counts pixels per channel and bin, exactly as `np.histogram(channel, bins=np.linspace(0, 255, bins + 1))`.

  Args:
    images: uint8 `[N, H, W, C]`.
    bins: the number of intervals.

  Returns:
    float64 `[N, C * bins]`: all bins of the first channel, then of the second, …; rows in the order of `images`.
  """
  edges = np.linspace(0, 255, bins + 1)
  bin_of = np.searchsorted(edges[1:-1], np.arange(256), side='right')  # [256]: value → bin; the last bin is closed
  count, height, width, channels = images.shape
  features = np.empty((count, channels * bins))
  for start in range(0, count, _CHUNK):
    chunk = images[start : start + _CHUNK].reshape(-1, height * width, channels)
    first = np.arange(len(chunk) * channels).reshape(-1, 1, channels) * bins  # first cell of each image and channel
    cells = np.bincount((bin_of[chunk] + first).ravel(), minlength=len(chunk) * channels * bins)
    features[start : start + _CHUNK] = cells.reshape(len(chunk), -1)
  return features
