"""Co-teaching+ (Yu et al. 2019, algorithm 1): co-teaching on the rows of a batch that its two networks disagree about.

Of n rows with two different predictions each network picks the floor(R(T) · n) of smallest loss, and the other learns
them; before `warmup` all rows take part, as in co-teaching.
Hyper-parameters of the official code for CIFAR-10: warm-up 20 epochs (100 classes: 5), forget rate = noise rate, ramp
10 epochs.
Departures: cross-entropy is of the logits (the code takes the softmax twice); the loss is divided once by the number of
rows kept (the code divides twice); the first epoch counts, and row 0 of the data set (the code drops both); a batch
without disagreement teaches nothing (the code then learns all its rows in some early steps). As in the code, where R(T)
· n is below 1, all n rows are kept.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, supervised
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, cross-updated on their disagreement.

  Attributes:
    forget: as in co-teaching, of the rows that the networks disagree about.
    ramp: as in co-teaching.
    warmup: epochs of co-teaching before.
  """

  warmup: Traced = 20.0

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    per = losses.cross_entropy(logits, b['target'])  # [2, B]
    counts = b['weight'] > 0
    guess = logits.argmax(-1)
    valid = counts & ((ctx.epoch < self.warmup) | (guess[0] != guess[1]))  # [B]
    own = smallest(jax.lax.stop_gradient(per), valid, self.keep(state, ctx.epoch))
    own = jnp.where(own.any(-1, keepdims=True), own, valid)
    return supervised(per, b, logits, chosen=own[::-1])  # learn the peer's choice
