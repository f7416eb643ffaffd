"""L2RW (Ren et al. 2018, algorithm 1): weights each row by how much a step on it lowers the loss of verified rows.

The weights ε of a batch are perturbed around 0: u_i = −∂/∂ε_i mean_j ℓ_j(θ − ∇_θ Σ_i ε_i ℓ_i(θ)) over a batch of
verified rows j, and w_i = max(u_i, 0) / Σ_k max(u_k, 0). The training loss is Σ_i w_i ℓ_i(θ).

Official code on CIFAR-10: ResNet-32, batches of 100 noisy and 100 clean rows, 100 clean images in total, SGD with
learning rate 0.1 (/ 10 at steps 40,000 and 60,000 of 80,000), momentum 0.9 and weight decay 2e-4. The virtual learning
rate is 1, as here: all rates above 0 give the same weights, while the rate of a warm-up may be 0. If no row lowers the
loss, or no row is verified, all weights and the loss are 0.

As in the code (models/reweight_model.py, lines 38-97, revision 0b616c9), the verified rows are not trained on
otherwise, and only the weighted forward pass updates the running statistics.

Departure: the loss of the verified rows does not include weight decay.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, TrainState
from noisyjax.strategies.shared import meta


class Strategy(meta.Reweighting):
  """Networks whose example weights are computed for each batch.

  Attributes:
    reuse: whether verified rows are also trained on, with their given labels.
  """

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']

    def ahead(eps: Array) -> Array:
      found = meta.loss_after(
        lambda per: eps, params['net'], b, batch['trusted'], state.extra['verified'], rate=1.0, ctx=ctx
      )
      return found.sum()

    slope = jax.grad(ahead)(jnp.zeros((self.networks, len(b['weight']))))  # [M, B]
    helpful = jnp.maximum(-slope, 0.0)  # rows of weight 0 have gradient 0
    weight = jax.lax.stop_gradient(helpful / jnp.maximum(helpful.sum(-1, keepdims=True), 1e-30))
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C]
    per = losses.cross_entropy(logits, b['target'])
    metrics = {'loss': per, 'chosen': weight > 0}
    return losses.weighted_mean(per, weight * b['weight']).sum(), Out(logits=logits, metrics=metrics)
