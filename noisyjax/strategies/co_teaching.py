"""Co-teaching (Han et al. 2018, algorithm 1): each network picks its small-loss rows, and the other learns them.

Hyper-parameters of the official code: forget rate = noise rate, ramp (T_k) 10 epochs, two networks of one kind.
Departures: the loss is divided once by the number of rows kept (the code divides twice); the first epoch counts (the
code's loop starts at 1); batch-norm statistics come from the whole batch, as in the code.
"""

import jax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, TrainState, supervised
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, cross-updated."""

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    per = losses.cross_entropy(logits, b['target'])  # [2, B]
    own = smallest(jax.lax.stop_gradient(per), b['weight'] > 0, self.keep(state, ctx.epoch))
    return supervised(per, b, logits, chosen=own[::-1])  # learn the peer's choice
