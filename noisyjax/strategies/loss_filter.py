"""Loss-based filtering (Arazo et al. 2019): after a warm-up, train only on the rows whose loss is small.

Small-loss selection as in Arazo et al. 2019 and Han et al. 2018, here over the whole training set, once an epoch, with
running statistics and no augmentation. `split` says what is small: the losses below their (1 − rate) quantile, or those
that a two-component mixture of Gaussians (Li et al. 2020) or of Betas (Arazo et al. 2019) gives to the component with
the smaller mean; a mixture is told nothing, and a quantile may take its rate from one.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import (
  Array,
  Batch,
  Ctx,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  row_losses,
)
from noisyjax.estimate import mixture
from noisyjax.strategies.shared.small_loss import smallest
from noisyjax.system.errors import check_choice


def quantile(loss: Array, counts: Array, rate: Array | float) -> Array:
  rate = jnp.where(rate < 0, mixture.noise_rate(loss, counts), rate)
  return smallest(loss[None], counts, 1 - rate)[0].astype(jnp.float32)


# (losses [N], rows that count bool [N], rate) → trust [N].
SPLITS = {
  'quantile': quantile,
  'gaussian': lambda loss, counts, rate: mixture.gaussian(loss, counts),
  'beta': lambda loss, counts, rate: mixture.beta(loss, counts),
}


class Strategy(Base):
  """One network that leaves out its large-loss rows.

  Attributes:
    split: what separates the losses: "quantile", "gaussian" or "beta".
    rate: of the quantile, the part of the rows to leave out: the noise rate, which the method is told; below 0 it is
      estimated anew at every split.
    threshold: of a mixture, the least probability of a small loss.
    warmup: epochs on all rows before the first split.
  """

  unit_interval = ('threshold',)
  estimable = ('rate',)
  split: str = 'quantile'
  rate: Traced = 0.4
  threshold: Traced = 0.5
  warmup: Traced = 5.0

  @property
  def needs(self) -> tuple[str, ...]:
    return ('rate',) if self.split == 'quantile' and self.rate > 0 else ()

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    check_choice('strategy.loss_filter.split', self.split, SPLITS)
    return {}, {}

  def members(self, state: TrainState) -> dict[str, Array]:
    least = 0.5 if self.split == 'quantile' else self.threshold
    return {'train': state.targets.trust[0] >= least}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return row_losses(logits, batch)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    small = SPLITS[self.split](scores['loss'][0], counts, self.rate)
    return targets.replace(trust=jnp.where(ctx.epoch < self.warmup, 1.0, small)[None]), state.extra
