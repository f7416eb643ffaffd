"""The noise rate and transition matrix of given labels, estimated from out-of-fold probabilities and verified rows.

Confident learning counts every error of the networks that it is sure of as a wrong label, so its rate is too high by
about as much. Where some rows are verified, the rate is corrected by what it is wrong by on them: the mean of the flags
of all rows plus the mean of (wrong − flag) of the verified ones, which is unbiased if these are a random sample
(prediction-powered inference, Angelopoulos et al. 2023, for a mean).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from noisyjax.estimate import confident, transition

BIAS = (
  'Biased upwards: errors of the networks count as wrong labels. The rate is at most about the true one plus the error '
  'rate of the networks.'
)
FEW = 30  # verified rows; fewer correct nothing


def estimated(probs: np.ndarray, given: np.ndarray, verified: np.ndarray) -> dict[str, Any]:
  """Returns the estimates, JSON-ready.

  Args:
    probs: out-of-fold probabilities [N, C].
    given: int [N]; −1 = unlabeled.
    verified: int [N]; −1 = not verified.

  Returns:
    rate: Estimated fraction of wrong labels.
    transition: Estimated T [C, C]: rows are true classes, columns given ones.
    labeled: Number of rows that it was estimated from.
    bias: What is known of its error, in words.
    corrected: Of `FEW` and more rows that are given and verified: their number, the corrected rate with its 95 %
      interval, and T counted from them; otherwise None.
  """
  keep = given >= 0
  their = jnp.asarray(probs), jnp.asarray(given), jnp.asarray(keep)
  joint = confident.joint(*their)
  flags = np.asarray(confident.issues(*their, 'confident_learning'))
  both = keep & (verified >= 0)
  corrected = None
  if both.sum() >= FEW:
    wrong = (given != verified)[both].astype(float)
    gap = wrong - flags[both]
    rate = flags[keep].mean() + gap.mean()
    error = 1.96 * np.sqrt(flags[keep].var() / keep.sum() + gap.var(ddof=1) / both.sum())
    checked = jnp.asarray(np.where(both, verified, -1))
    matrix = np.asarray(transition.from_pairs(checked, their[1], probs.shape[1]))
    corrected = {
      'verified': int(both.sum()),
      'rate': float(np.clip(rate, 0, 1)),
      'interval': np.clip([rate - error, rate + error], 0, 1).tolist(),
      'transition': matrix.tolist(),
    }
  return {
    'rate': max(1 - float(jnp.trace(joint)), 0.0),
    'transition': np.asarray(transition.from_joint(joint)).tolist(),
    'labeled': int(keep.sum()),
    'bias': BIAS,
    'corrected': corrected,
  }
