"""Co-teaching+ (Yu et al. 2019, algorithm 1): co-teaching on the rows of a batch on which the two networks disagree.

Of n rows with two different predictions, each network selects the floor(R(T) · n) rows with the smallest loss, and the
other network learns them. Before epoch `warmup`, all rows take part, as in co-teaching.

Settings of the official code for CIFAR-10: warm-up of 20 epochs (CIFAR-100: 5), forget rate = noise rate, reached over
10 epochs.

As in the code, if R(T) · n is below 1, all n rows are selected. With `official`, as in the code
(xingruiyu/coteaching_plus, loss.py, main.py, lines 224-262, revision a68ed61): after the warm-up, cross-entropy takes
probabilities for logits (softmax twice); the mean loss is divided by the number of selected rows once more; the loop
begins with epoch 1; if the networks disagree on row 0 of the data set, the last such row of the batch is left out; and
a batch without disagreement is learned from as a whole while epoch · (steps done in it) is below 5000. Without it,
such a batch does not contribute.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, each trained on the rows that the other selects among those on which they disagree.

  Attributes:
    forget: as in co-teaching, as a fraction of the rows on which the networks disagree.
    ramp: as in co-teaching.
    official: whether to follow the authors' code where it departs from the paper, see above.
    warmup: number of initial epochs of plain co-teaching.
  """

  warmup: Traced = 20.0

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    counts = b['weight'] > 0
    guess = logits.argmax(-1)
    apart = counts & (guess[0] != guess[1])  # [B]
    together = ctx.epoch + self.official < self.warmup
    outputs = logits
    if self.official:
      outputs = jnp.where(together, logits, jax.nn.softmax(logits))
      lost = (apart & (b['index'] == 0)).any()
      place = jnp.arange(len(apart))
      apart &= ~lost | (place < jnp.where(apart, place, -1).max())
    per = losses.cross_entropy(outputs, b['target'])  # [2, B]
    valid = jnp.where(together, counts, apart)
    own = smallest(jax.lax.stop_gradient(per), valid, self.keep(state, ctx.epoch))
    own = jnp.where(own.any(-1, keepdims=True), own, valid)
    loss, out = self.taught(per, b, logits, own)
    if self.official:
      early = (state.epoch + 1) * state.tick < 5000  # epochs of the run: the recipe's second phase counts from 0
      every = jnp.where(early, losses.weighted_mean(per, b['weight']).sum(), 0.0)
      loss = jnp.where(together | apart.any(), loss, every)
    return loss, out
