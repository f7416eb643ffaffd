"""JoCoR (Wei et al. 2020, eqs. 1–5): two networks learn one joint loss, on the rows for which it is small.

(1 − λ)(CE₁ + CE₂) + λ(KL(p₁‖p₂) + KL(p₂‖p₁)) per row; the floor(R(T) · n) rows with the smallest are kept, by both.
Hyper-parameters of the official code: λ 0.9 for CIFAR-10 up to 50 % noise (0.65 at 80 %; CIFAR-100: 0.85), ramp 10,
forget rate = noise rate (half of it where the noise is asymmetric).
Departures: the first epoch counts (the code's loop starts at 1). λ was tuned on pixels that are not normalised, for a
CNN without dropout; the authors say that another network or normalisation needs another. The networks are coupled by
the divergence; the code's one Adam over both equals one for each.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState
from noisyjax.strategies.shared.small_loss import Forgetful, smallest


class Strategy(Forgetful):
  """Two networks that agree.

  Attributes:
    forget: as in co-teaching.
    ramp: as in co-teaching.
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
    apart = ((p[0] - p[1]) * (logp[0] - logp[1])).sum(-1)  # [B], both divergences
    joint = (1 - self.agree) * per.sum(0) + self.agree * apart
    chosen = smallest(jax.lax.stop_gradient(joint)[None], b['weight'] > 0, self.keep(state, ctx.epoch))[0]
    metrics = {'loss': per, 'chosen': chosen, 'divergence': apart}
    return losses.weighted_mean(joint, b['weight'] * chosen), Out(logits=logits, metrics=metrics)
