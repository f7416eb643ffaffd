"""Bootstrapping (Reed et al. 2015): the target is β · label + (1 − β) · the network's own prediction.

Soft takes the probabilities p, and the gradient runs through them too: cross-entropy plus entropy regularisation. Hard
takes the argmax. The paper's β: 0.95 soft, 0.8 hard. There is no official code. Both are linear in the label, so
that mixup may mix targets.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """One network that partly believes itself.

  Attributes:
    beta: part of the label in the target (0.8 is the paper's with `hard`).
    hard: whether the network's part is its argmax instead of its probabilities.
  """

  unit_interval = ('beta',)
  beta: Traced = 0.95
  hard: bool = False

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(losses.bootstrapped(logits, b['target'], self.beta, self.hard), b, logits)
