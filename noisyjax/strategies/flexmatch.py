"""FlexMatch (Zhang et al. 2021, eqs. 5–11): FixMatch whose threshold is lower for classes that are learnt less well.

σ_c is how many unlabeled rows were last guessed as c with confidence τ or more; β_c = σ_c / max(max σ, rows never
guessed so), and the threshold of class c is τ · β_c / (2 − β_c) (the convex map). Official hyper-parameters: those of
FixMatch, `thresh_warmup` on (without it the rows never guessed do not count in β's denominator).
Departures: FixMatch's. The thresholds of a step come from the memory before it, as in the code.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Batch, PyTree, TrainData, TrainState
from noisyjax.strategies import fixmatch
from noisyjax.strategies.shared import row_memory


class Strategy(fixmatch.Strategy):
  """FixMatch with a threshold per class.

  Attributes:
    thresh_warmup: whether thresholds rise from 0, as long as most unlabeled rows have had no confident guess.
  """

  thresh_warmup: bool = True

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    own, extra = super().init(key, data)
    return own, extra | {'selected': jnp.full((1, len(data.given)), -1, jnp.int32)}

  def least(self, state: TrainState, classes: int) -> Array:
    selected = state.extra['selected'][0]  # [N]
    pool = state.masks['unlabeled'].astype(jnp.float32)
    count = jnp.bincount(jnp.where(selected < 0, classes, selected), pool, length=classes + 1)  # the last: never
    most = count.max() if self.thresh_warmup else count[:-1].max()
    beta = count[:-1] / jnp.maximum(most, 1.0)  # [C]
    return self.threshold * beta / (2 - beta)

  def remember(self, state: TrainState, unlabeled: Batch, sure: Array, guess: Array) -> PyTree:
    valid = (unlabeled['weight'] > 0) & (sure >= self.threshold)  # [1, U]
    return state.extra | {'selected': row_memory.put(state.extra['selected'], unlabeled['index'], guess, valid)}
