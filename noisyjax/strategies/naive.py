"""Naive training: cross-entropy on the targets as they are.

This is the baseline for all other methods. With `smoothing`, it is label smoothing (Szegedy et al. 2016, section 7).
With `penalty`, the loss includes penalty · Σ_c p_c log p_c (the confidence penalty of Pereyra et al. 2017, eq. 1),
which DivideMix uses in its warm-up under asymmetric noise.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """Cross-entropy, summed over independent networks.

  Attributes:
    networks: number of networks; 2 for the warm-up of a method with two networks.
    smoothing: label smoothing in [0, 1).
    penalty: weight of the negative entropy of the predictions.
  """

  unit_interval = ('smoothing',)
  networks: int = 1
  smoothing: Traced = 0.0
  penalty: Traced = 0.0

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C]
    per = losses.cross_entropy(logits, losses.smooth(b['target'], self.smoothing))  # [M, B]
    logp = jax.nn.log_softmax(logits)
    return supervised(per + self.penalty * (jnp.exp(logp) * logp).sum(-1), b, logits)
