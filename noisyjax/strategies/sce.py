"""SCE (Wang et al. 2019): α · cross-entropy + β · its reverse, −Σ_c p_c log y_c with log 0 read as log 1e-4.

Official (Keras): α 0.1, β 1 on CIFAR-10, 6 and 0.1 on CIFAR-100, 0.01 and 1 on MNIST; SGD 0.01 on
CIFAR-10 (its schedule overrides the 0.1), batch 128, 120 epochs.
Departures: p is not clipped at 1e-7, which log_softmax makes needless. Under mixup the losses are mixed: the reverse
term is not linear in the label, and a clipped mixture is not what the paper analyses.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """One network under symmetric cross-entropy.

  Attributes:
    alpha: weight of cross-entropy.
    beta: weight of its reverse.
  """

  alpha: Traced = 0.1
  beta: Traced = 1.0
  mix = 'loss'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]

    def symmetric(target: Array) -> Array:
      forward, reverse = losses.cross_entropy(logits, target), losses.reverse_cross_entropy(logits, target)
      return self.alpha * forward + self.beta * reverse

    return supervised(ctx.mixed(symmetric, b), b, logits)
