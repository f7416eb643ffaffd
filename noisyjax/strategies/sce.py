"""SCE (Wang et al. 2019): α · cross-entropy + β · reverse cross-entropy, −Σ_c p_c log y_c with log 0 = log 1e-4.

Official settings (Keras): α 0.1 and β 1 on CIFAR-10, 6 and 0.1 on CIFAR-100, 0.01 and 1 on MNIST; SGD with learning
rate 0.01 on CIFAR-10 (the schedule overrides the 0.1 of the optimizer), batch size 128, 120 epochs.

As in the code (YisenWang/symmetric_cross_entropy_for_noisy_labels, loss.py, lines 9-21, revision ec778df),
cross-entropy takes the logarithm of max(p, 1e-7): a row with a smaller p has no gradient from it.

Departure: under mixup, losses are mixed instead of targets: the reverse term is not linear in the label, and the paper
does not analyze a clipped mixture.
"""

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


class Strategy(Base):
  """One network, trained with symmetric cross-entropy.

  Attributes:
    alpha: weight of cross-entropy.
    beta: weight of reverse cross-entropy.
  """

  alpha: Traced = 0.1
  beta: Traced = 1.0
  mix = 'loss'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]

    def symmetric(target: Array) -> Array:
      forward = losses.cross_entropy(logits, target, floor=1e-7)
      return self.alpha * forward + self.beta * losses.reverse_cross_entropy(logits, target)

    return supervised(ctx.mixed(symmetric, b), b, logits)
