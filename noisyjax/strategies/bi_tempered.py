"""Bi-tempered logistic loss (Amid et al. 2019): t1 < 1 bounds the loss, t2 > 1 makes the softmax heavy-tailed.

The probabilities are exp_t2(logits − λ), both in the loss and in the vote of the networks. The paper's temperatures,
quoted from memory and not verified: CIFAR-100 0.8 and 1.2 (the defaults), MNIST 0.5 and 4, ImageNet 0.9 and 1.05; it
has no CIFAR-10. Both temperatures may be swept; at t1 = t2 = 1 the loss is softmax cross-entropy.

Departure: λ is found with Newton's method (losses.tempered_log_softmax), where the official code uses a fixed-point
iteration for t2 > 1 and bisection below. Its gradient is that of the solution, as in the official code.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """One network, trained with the bi-tempered loss.

  Attributes:
    t1: temperature of the logarithm, in [0, 1].
    t2: temperature of the softmax, at least 1.
    iterations: number of Newton iterations of the normalization.
  """

  unit_interval = ('t1',)
  t1: Traced = 0.8
  t2: Traced = 1.2
  iterations: int = 5

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(losses.bi_tempered(logits, b['target'], self.t1, self.t2, self.iterations), b, logits)

  def probs(self, logits: Array) -> Array:
    return jnp.exp(losses.tempered_log_softmax(logits, self.t2, self.iterations)).mean(0)
