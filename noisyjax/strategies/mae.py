"""MAE (Ghosh et al. 2017): absolute error Σ_c |p_c − y_c| = 2 − 2 p_y; symmetric noise does not move its minimum.

The method has no hyper-parameters. The gradient vanishes where p_y is small, so that training is slow, and hardly works
with many classes; GCE and SCE were designed to correct this. Under mixup, losses are mixed instead of targets, because
the loss of the paper is defined for hard labels.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, TrainState, supervised


class Strategy(Base):
  """One network, trained with the absolute error."""

  mix = 'loss'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(ctx.mixed(lambda target: losses.absolute_error(logits, target), b), b, logits)
