"""MAE (Ghosh et al. 2017): the absolute error Σ_c |p_c − y_c| = 2 − 2 p_y, whose minimum symmetric noise does not move.

No hyper-parameters. Its gradient vanishes where p_y is small, so that it learns slowly, and on many classes hardly at
all; GCE and SCE were made to mend that. Under mixup the losses are mixed: the paper's loss is one of labels.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, TrainState, supervised


class Strategy(Base):
  """One network under absolute error."""

  mix = 'loss'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(ctx.mixed(lambda target: losses.absolute_error(logits, target), b), b, logits)
