"""APL, active passive loss (Ma et al. 2020, section 3.3): α · NCE + β · RCE, both robust to symmetric noise.

Normalized cross-entropy (NCE), −log p_y / −Σ_c log p_c, is active: it raises p_y. Reverse cross-entropy (RCE), −Σ_c p_c
log y_c with log 0 defined as log 1e-4, is passive: it lowers the other probabilities. For one-hot labels, RCE is 9.21
(1 − p_y). The paper's NCE + MAE (in its code, MAE is 1 − p_y) is therefore this loss with β divided by 9.21, and needs
no option.

Official settings (HanxunH/Active-Passive-Losses): α 1 and β 1 on CIFAR-10, α 10 and β 0.1 on CIFAR-100; an 8-layer CNN,
SGD with learning rate 0.01, momentum 0.9 and weight decay 1e-4, batch size 128, 120 epochs, a cosine schedule to 0, and
gradients clipped to norm 5.

Departures: RCE does not clip p at 1e-7. Under mixup, losses are mixed instead of targets, because RCE is not linear in
the label.
"""

import jax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Strategy as Base, Traced, TrainState, supervised


def normalized_cross_entropy(logits: Array, target: Array) -> Array:
  """Returns CE(target) / Σ_c CE(c) per example, [M, B], between 0 and 1; 0 if the target is all zeros (unlabeled).

  Args:
    logits: [M, B, C].
    target: one-hot labels or label distributions, [B, C].
  """
  return losses.cross_entropy(logits, target) / -jax.nn.log_softmax(logits).sum(-1)


class Strategy(Base):
  """One network, trained with the sum of an active and a passive loss.

  Attributes:
    alpha: weight of normalized cross-entropy.
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
