"""SOP+ (Liu et al. 2022): SOP, plus consistency of a strong view with the weak one, plus class balance.

SOP of the weak view + 0.9 · KL(p_weak ‖ p_strong), no gradient through p_weak, + 0.1 · mean_c −log p̄_c, with p̄ the
batch's mean of SOP's predictions, noise added. Official: both views in one forward; the strong one AutoAugment and
Cutout 16, for which set the config's strong pipeline; rates and the rest as SOP.
Departures: none known in the loss.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainState, Views, supervised
from noisyjax.strategies.sop import FLOOR, Strategy as SOP, explained


class Strategy(SOP):
  """SOP with two regularisers.

  Attributes:
    lr_u: as SOP's.
    lr_v: as SOP's.
    scale: as SOP's.
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
