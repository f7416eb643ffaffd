"""JoCoR (Wei et al. 2020, eqs. 1–5): two networks are trained with one joint loss, on the rows for which it is small.

The loss of a row is (1 − λ)(CE₁ + CE₂) + λ(KL(p₁‖p₂) + KL(p₂‖p₁)). Both networks keep the floor(R(T) · n) rows with the
smallest loss.

Settings of the official code: λ 0.9 for CIFAR-10 up to 50 % noise (0.65 at 80 %; CIFAR-100: 0.85); forget rate = noise
rate (half of it for asymmetric noise), reached over 10 epochs.

With `official`, as in the code (hongxin001/JoCoR, algorithm/jocor.py, lines 41-42 and 103-142, algorithm/loss.py,
revision 86db359), the loop begins with epoch 1. λ was tuned on pixels that are not normalized, for a CNN without
dropout; according to the authors, another network or normalization needs another λ. The divergence couples the
networks; the code uses one Adam for both, which is equivalent to one for each.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks, trained to agree with each other.

  Attributes:
    forget: as in co-teaching.
    ramp: as in co-teaching.
    official: whether the first epoch is skipped, as in the authors' code.
    agree: λ, the weight of the divergence between the two predictions.
  """

  coupled = True
  unit_interval = ('agree',)
  agree: Traced = 0.9

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [2, B, C]
    per = losses.cross_entropy(logits, b['target'])  # [2, B]
    logp = jax.nn.log_softmax(logits)
    p = jnp.exp(logp)
    apart = ((p[0] - p[1]) * (logp[0] - logp[1])).sum(-1)  # [B], sum of both divergences
    joint = (1 - self.agree) * per.sum(0) + self.agree * apart
    chosen = smallest(jax.lax.stop_gradient(joint)[None], b['weight'] > 0, self.keep(state, ctx.epoch))[0]
    metrics = {'loss': per, 'chosen': chosen, 'divergence': apart}
    return losses.weighted_mean(joint, b['weight'] * chosen), Out(logits=logits, metrics=metrics)
