"""Co-teaching+ (Yu et al. 2019, algorithm 1): co-teaching on the rows of a batch on which the two networks disagree.

Of n rows with two different predictions, each network selects the floor(R(T) · n) rows with the smallest loss, and the
other network learns them. Before epoch `warmup`, all rows take part, as in co-teaching.

Settings of the official code for CIFAR-10: warm-up of 20 epochs (CIFAR-100: 5), forget rate = noise rate, reached over
10 epochs.

Departures: cross-entropy uses the logits (the code applies softmax twice). The loss is divided once by the number of
selected rows (the code divides twice). The first epoch and row 0 of the data set count (the code drops both). A batch
without disagreement does not contribute (the code trains on all its rows in some early steps). As in the code, if R(T)
· n is below 1, all n rows are selected.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, supervised
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, each trained on the rows that the other selects among those on which they disagree.

  Attributes:
    forget: as in co-teaching, as a fraction of the rows on which the networks disagree.
    ramp: as in co-teaching.
    warmup: number of initial epochs of plain co-teaching.
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
    return supervised(per, b, logits, chosen=own[::-1])  # each network learns the rows that its peer selects
