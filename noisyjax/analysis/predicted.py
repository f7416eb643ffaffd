"""What probabilities say of each row: the columns from `predicted` to `loss`, see `analysis.columns`."""

import numpy as np

from noisyjax.estimate import scoring

LEAST = 1e-12  # lowest probability whose logarithm is taken


def columns(probs: np.ndarray, given: np.ndarray, prefix: str = '') -> dict[str, np.ma.MaskedArray]:
  """Returns predicted, second, confidence, margin, entropy and loss of each row; margin and loss need a label.

  Args:
    probs: [N, C]; rows of NaN have no probabilities, and null columns.
    given: int [N]; −1 = unlabeled.
    prefix: put before each name, such as "oof_".
  """
  known = np.isfinite(probs.sum(1))
  safe = np.where(known[:, None], probs, 1 / probs.shape[1]).astype(np.float64)
  order = np.argsort(-safe, axis=1, kind='stable')
  own = np.take_along_axis(safe, np.maximum(given, 0)[:, None], 1)[:, 0]
  labeled = given >= 0
  found = {
    'predicted': (order[:, 0], known),
    'second': (order[:, 1], known),
    'confidence': (safe.max(1), known),
    'margin': (scoring.margin(safe, given), known & labeled),
    'entropy': (-(safe * np.log(np.maximum(safe, LEAST))).sum(1), known),
    'loss': (-np.log(np.maximum(own, LEAST)), known & labeled),
  }
  return {f'{prefix}{name}': np.ma.masked_array(values, ~where) for name, (values, where) in found.items()}
