"""Co-teaching (Han et al. 2018, algorithm 1): each network selects its small-loss rows, and the other one learns them.

Settings of the official code: forget rate = noise rate, reached over 10 epochs (T_k); two networks of one architecture.

As in the code, batch normalization uses all rows of the batch. With `official`, as in the code (bhanML/Co-teaching,
loss.py, lines 8-29, main.py, lines 134-135 and 166-205, revision 7c7fbe2), the mean loss is divided by the number of
selected rows once more, which Adam cancels but SGD does not, and the loop begins with epoch 1.
"""

import jax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, TrainState
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, each trained on the rows that the other selects.

  Attributes:
    forget: τ, the final fraction of each batch that is dropped, or below 0 for an estimate; see `Forgetful`.
    ramp: T_k, the number of epochs over which the fraction rises to τ.
    official: whether the loss is divided twice and the first epoch skipped, as in the authors' code.
  """

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    per = losses.cross_entropy(logits, b['target'])  # [2, B]
    own = smallest(jax.lax.stop_gradient(per), b['weight'] > 0, self.keep(state, ctx.epoch))
    return self.taught(per, b, logits, own)
