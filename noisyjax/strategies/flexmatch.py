"""FlexMatch (Zhang et al. 2021, eqs. 5–11): FixMatch with a lower threshold for classes that are learned less well.

σ_c is the number of unlabeled rows whose last confident prediction (confidence ≥ τ) was class c. β_c = σ_c / max(max σ,
number of rows without a confident prediction so far), and the threshold of class c is τ · β_c / (2 − β_c), the convex
mapping.

Official settings: those of FixMatch, with `thresh_warmup` (without it, rows without a confident prediction do not enter
the denominator of β).

Departures: those of FixMatch. As in the code, the thresholds of a step come from the memory before that step.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Batch, PyTree, TrainData, TrainState
from noisyjax.strategies import fixmatch
from noisyjax.strategies.shared import row_memory


class Strategy(fixmatch.Strategy):
  """FixMatch with a threshold for each class.

  Attributes:
    together: as in FixMatch.
    thresh_warmup: whether the thresholds rise from 0 while most unlabeled rows have had no confident prediction.
  """

  thresh_warmup: bool = True

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    own, extra = super().init(key, data)
    return own, extra | {'selected': jnp.full((1, len(data.given)), -1, jnp.int32)}

  def least(self, state: TrainState, classes: int) -> Array:
    selected = state.extra['selected'][0]  # [N]
    pool = state.masks['unlabeled'].astype(jnp.float32)
    # The last entry counts the rows without a confident prediction.
    count = jnp.bincount(jnp.where(selected < 0, classes, selected), pool, length=classes + 1)
    most = count.max() if self.thresh_warmup else count[:-1].max()
    beta = count[:-1] / jnp.maximum(most, 1.0)  # [C]
    return self.threshold * beta / (2 - beta)

  def remember(self, state: TrainState, unlabeled: Batch, sure: Array, guess: Array) -> PyTree:
    valid = (unlabeled['weight'] > 0) & (sure >= self.threshold)  # [1, U]
    return state.extra | {'selected': row_memory.put(state.extra['selected'], unlabeled['index'], guess, valid)}
