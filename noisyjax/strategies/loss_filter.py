"""Loss-based filtering (Arazo et al. 2019): after a warm-up, trains only on the rows whose loss is small.

This is small-loss selection as in Arazo et al. 2019 and Han et al. 2018, but over the whole training set, once per
epoch, with running statistics and without augmentation. `split` determines which losses are small: those below their (1
− rate) quantile, or those that a two-component mixture of Gaussians (Li et al. 2020) or Betas (Arazo et al. 2019)
assigns to the component with the smaller mean. A mixture needs no noise rate; the quantile can estimate its rate with a
mixture.
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
  """Returns 1 for losses below their (1 − rate) quantile and 0 for others, [N]; a rate below 0 is estimated."""
  rate = jnp.where(rate < 0, mixture.noise_rate(loss, counts), rate)
  return smallest(loss[None], counts, 1 - rate)[0].astype(jnp.float32)


# Functions (losses [N], usable rows bool [N], rate) → trust [N].
SPLITS = {
  'quantile': quantile,
  'gaussian': lambda loss, counts, rate: mixture.gaussian(loss, counts),
  'beta': lambda loss, counts, rate: mixture.beta(loss, counts),
}


class Strategy(Base):
  """One network, trained without its large-loss rows.

  Attributes:
    split: method that separates small from large losses, "quantile", "gaussian" or "beta".
    rate: fraction of rows that "quantile" leaves out, which is the noise rate that the method is told; a rate below 0
      is estimated in each epoch.
    threshold: minimum probability of a small loss for "gaussian" and "beta".
    warmup: number of epochs on all rows before the first split.
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
