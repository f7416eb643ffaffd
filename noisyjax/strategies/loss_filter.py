"""Loss-based filtering: after a warm-up, train only on the rows whose loss is small.

Small-loss selection as in Arazo et al. 2019 and Han et al. 2018, here over the whole training set, once an epoch, with
running statistics and no augmentation: the (1 − rate) quantile of each epoch's losses splits kept from dropped rows.
"""

import jax.numpy as jnp

from noisyjax import losses
from noisyjax.strategy import Strategy as Base


class Strategy(Base):
  """One network that leaves out its large-loss rows.

  Attributes:
    rate: the part of the rows to leave out: the noise rate, which the method is told.
    warmup: epochs on all rows before the first split.
  """

  rate: float = 0.4
  warmup: float = 5.0
  needs = ('rate',)

  def members(self, state):
    return {'train': state.targets.trust[0] > 0.5}

  def score(self, logits, features, batch):
    return {'loss': losses.cross_entropy(logits, batch['target'])}  # [1, B]

  def refresh(self, state, scores, ctx):
    targets = state.targets
    counts = (targets.label >= 0) & (targets.weight > 0) & ctx.rows  # [N]
    loss = jnp.where(counts, scores['loss'], jnp.inf)  # [1, N]
    keep = jnp.floor((1 - self.rate) * counts.sum() + 1e-3)
    small = loss.argsort(-1).argsort(-1) < keep
    trust = jnp.where(ctx.epoch < self.warmup, 1.0, small.astype(jnp.float32))
    return targets.replace(trust=trust), state.extra
