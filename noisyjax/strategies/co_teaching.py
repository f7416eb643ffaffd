"""Co-teaching (Han et al. 2018, algorithm 1): each network selects its small-loss rows, and the other one learns them.

Settings of the official code: forget rate = noise rate, reached over 10 epochs (T_k); two networks of one architecture.

Departures: the loss is divided once by the number of selected rows (the code divides twice). The first epoch counts
(the loop of the code starts at epoch 1). As in the code, batch normalization uses all rows of the batch.
"""

import jax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, TrainState, supervised
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, each trained on the rows that the other selects."""

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    per = losses.cross_entropy(logits, b['target'])  # [2, B]
    own = smallest(jax.lax.stop_gradient(per), b['weight'] > 0, self.keep(state, ctx.epoch))
    return supervised(per, b, logits, chosen=own[::-1])  # each network learns the rows that its peer selects
