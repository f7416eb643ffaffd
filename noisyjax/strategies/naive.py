"""Naive training: cross-entropy on the targets as they are.

The baseline every method is held against. With `smoothing` it is label smoothing (Szegedy et al. 2016, section 7).
"""

from noisyjax import losses
from noisyjax.strategy import Strategy as Base
from noisyjax.strategy import supervised


class Strategy(Base):
  """Cross-entropy, summed over networks that never see each other.

  Attributes:
    networks: how many (2 warms up a two-network method).
    smoothing: label smoothing in [0, 1).
  """

  networks: int = 1
  smoothing: float = 0.0

  def loss(self, params, state, batch, ctx):
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C]
    per = losses.cross_entropy(logits, losses.smooth(b['target'], self.smoothing))  # [M, B]
    return supervised(per, b, logits)
