"""L2RW (Ren et al. 2018, algorithm 1): rows weigh what a step on them would do for a few verified rows, or nothing.

Perturb the weights ε of a batch around 0: u_i = −∂/∂ε_i mean_j ℓ_j(θ − ∇_θ Σ_i ε_i ℓ_i(θ)) over a verified batch j,
w_i = max(u_i, 0) / Σ_k max(u_k, 0), and the step descends Σ_i w_i ℓ_i(θ).

Official code on CIFAR-10: ResNet-32, batches of 100 noisy and 100 clean rows, 100 clean images in all, SGD, rate 0.1
(÷10 at steps 40k and 60k of 80k), momentum 0.9, decay 2e-4; virtual rate 1, as here, since any rate but 0 gives the
same weights (a warm-up's rate is 0). Where no row helps, or no row is verified, all weights are 0 and so is the loss.
Departures: the verified rows are in the training stream too, with their given labels (the code takes them out); the
verified rows' loss leaves weight decay out; running statistics move by the weighted forward pass alone.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, TrainState
from noisyjax.strategies.shared import meta


class Strategy(meta.Reweighting):
  """Weights made anew for every batch; nothing to set."""

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']

    def ahead(eps: Array) -> Array:
      found = meta.loss_after(
        lambda per: eps, params['net'], b, batch['trusted'], state.extra['verified'], rate=1.0, ctx=ctx
      )
      return found.sum()

    slope = jax.grad(ahead)(jnp.zeros((self.networks, len(b['weight']))))  # [M, B]
    helpful = jnp.maximum(-slope, 0.0)  # a row that does not count has no slope
    weight = jax.lax.stop_gradient(helpful / jnp.maximum(helpful.sum(-1, keepdims=True), 1e-30))
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C]
    per = losses.cross_entropy(logits, b['target'])
    metrics = {'loss': per, 'chosen': weight > 0}
    return losses.weighted_mean(per, weight * b['weight']).sum(), Out(logits=logits, metrics=metrics)
