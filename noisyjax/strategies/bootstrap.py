"""Bootstrapping (Reed et al. 2015): the target is β · label + (1 − β) · the network's own prediction.

The soft version uses the probabilities p. The gradient flows through them, too, so that the loss is cross-entropy plus
entropy regularization. The hard version uses the argmax. The paper's β is 0.95 (soft) and 0.8 (hard); there is no
official code. Both losses are linear in the label, so that mixup may mix targets.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """One network, trained on a mixture of labels and its own predictions.

  Attributes:
    beta: weight of the label in the target; the paper uses 0.95, and 0.8 if `hard` is set.
    hard: whether the prediction in the target is the argmax instead of the probabilities.
  """

  unit_interval = ('beta',)
  beta: Traced = 0.95
  hard: bool = False

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(losses.bootstrapped(logits, b['target'], self.beta, self.hard), b, logits)
