"""SOP+ (Liu et al. 2022): SOP with consistency between a strong and a weak view, and with class balance.

The loss is SOP on the weak view + 0.9 · KL(p_weak ‖ p_strong), without gradient through p_weak, + 0.1 · mean_c −log
p̄_c, where p̄ is the mean over the batch of SOP's predictions with the noise added.

Official settings: both views in one forward pass; the strong view is AutoAugment and Cutout 16, which must be set as
the strong pipeline of the config; learning rates and all else as for SOP.

Departures: no known departures in the loss.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, Views, supervised
from noisyjax.strategies.sop import FLOOR, Strategy as SOP, explained


class Strategy(SOP):
  """SOP with two regularizers.

  Attributes:
    lr_u: as in SOP.
    lr_v: as in SOP.
    scale: as in SOP.
    consistency: weight of the divergence between the two views.
    balance: weight of the term that balances the classes.
  """

  consistency: Traced = 0.9
  balance: Traced = 0.1
  streams = {'train': Views('weak', 'strong')}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    both, _ = ctx.net(params, jnp.concatenate([b['weak'], b['strong']]))  # [1, 2B, C]
    weak, strong = jnp.split(both, 2, 1)  # [1, B, C]
    per, probs = explained(params['own'], b, weak)
    before, after = jax.lax.stop_gradient(jax.nn.log_softmax(weak)), jax.nn.log_softmax(strong)
    per = per + self.consistency * (jnp.exp(before) * (before - after)).sum(-1)  # [1, B]
    loss, out = supervised(per, b, weak)
    mean = losses.weighted_mean(jnp.moveaxis(probs, -1, -2), b['weight'])  # [1, C]
    even = jnp.where(b['weight'].sum() > 0, -jnp.log(jnp.clip(mean, FLOOR, 1.0)).mean(-1), 0.0)  # [1]
    return loss + self.balance * even.sum(), out
