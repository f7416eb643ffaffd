"""APL, active passive loss (Ma et al. 2020, section 3.3): α · NCE + β · RCE, both robust to symmetric noise.

NCE, normalised cross-entropy, is −log p_y / −Σ_c log p_c: active, it raises p_y. RCE, reverse cross-entropy, is
−Σ_c p_c log y_c with log 0 read as log 1e-4: passive, it lowers the others. For labels RCE is 9.21 (1 − p_y), so that
the paper's NCE + MAE (its code: MAE = 1 − p_y) is the same loss with β divided by 9.21, and is no option here.
Official (HanxunH/Active-Passive-Losses): α 1 and β 1 on CIFAR-10, 10 and 0.1 on CIFAR-100; an 8-layer CNN, SGD 0.01,
momentum 0.9, decay 1e-4, batch 128, 120 epochs, cosine to 0, gradients clipped at norm 5.
Departures: p is not clipped at 1e-7 in RCE. Under mixup the losses are mixed: RCE is not linear in the label.
"""

import jax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


def normalized_cross_entropy(logits: Array, target: Array) -> Array:
  """Returns CE(target) / Σ_c CE(c) per example, between 0 and 1; 0 for a row of zeros (an unlabeled row).

  Args:
    logits: [M, B, C].
    target: [B, C].
  """
  return losses.cross_entropy(logits, target) / -jax.nn.log_softmax(logits).sum(-1)


class Strategy(Base):
  """One network under an active and a passive loss.

  Attributes:
    alpha: weight of normalised cross-entropy.
    beta: weight of reverse cross-entropy.
  """

  alpha: Traced = 1.0
  beta: Traced = 1.0
  mix = 'loss'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]

    def both(target: Array) -> Array:
      active, passive = normalized_cross_entropy(logits, target), losses.reverse_cross_entropy(logits, target)
      return self.alpha * active + self.beta * passive

    return supervised(ctx.mixed(both, b), b, logits)
