"""Meta-Weight-Net (Shu et al. 2019, algorithm 1): a small network, trained on verified rows, maps losses to weights.

A network V with one hidden layer maps the loss of a row to a weight in (0, 1). Each step on a batch of rows i computes,
in this order: virtual parameters θ̂(Θ) = θ − η ∇_θ (1/n) Σ_i V(ℓ_i; Θ) ℓ_i(θ) (eq. 3); a step on Θ that lowers the loss
of verified rows at θ̂ (eq. 4); and the real step on (1/n) Σ_i V(ℓ_i; Θ) ℓ_i(θ) with the new Θ (eq. 5). The losses that
enter V are constants.

Official code (MW-Net.py) on CIFAR-10: V 1-100-1 with PyTorch's initialization, Adam with learning rate 1e-3 and weight
decay 1e-4; ResNet-32, batches of 100 noisy and 100 verified rows, SGD with momentum 0.9, learning rate 0.1 (/ 10 at
epochs 80 and 100 of 120) and weight decay 5e-4, 1,000 verified rows; η is the current learning rate. The weights are
divided by n; the authors' script for WRN-28-10 divides by Σ_i V, as `normalise` does here. Without verified rows, only
weight decay changes V.

As in the code (lines 190-241, revision 3f1800f), the verified rows are not trained on otherwise, and only the forward
pass of the real step updates the running statistics.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Batches, Ctx, Out, PyTree, Traced, TrainData, TrainState
from noisyjax.strategies.shared import meta


def weight_of(own: dict[str, Array], per: Array) -> Array:
  """Applies the weight network V.

  Args:
    own: parameters of V, name → [M, …].
    per: losses, [M, B].

  Returns:
    Weights in (0, 1), [M, B].
  """
  rows = lambda name: own[name][:, None]
  hidden = jax.nn.relu(per[..., None] * rows('hidden_kernel') + rows('hidden_bias'))  # [M, B, H]
  return jax.nn.sigmoid((hidden * rows('kernel')).sum(-1) + rows('bias'))


class Strategy(meta.Reweighting):
  """Networks with one weight network each.

  Attributes:
    reuse: whether verified rows are also trained on, with their given labels.
    lr: learning rate of the weight network's Adam.
    decay: weight decay of the weight network's Adam.
    hidden: number of hidden units of the weight network.
    normalise: whether the weights of a batch are divided by their sum instead of by the number of rows.
  """

  lr: Traced = 1e-3
  decay: Traced = 1e-4
  hidden: int = 100
  normalise: bool = False

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    wide = (self.networks, self.hidden)
    shapes: dict[str, tuple[tuple[int, ...], int]] = {
      'hidden_kernel': (wide, 1),
      'hidden_bias': (wide, 1),
      'kernel': (wide, self.hidden),
      'bias': (wide[:1], self.hidden),
    }
    own = {}
    for k, (name, (shape, inputs)) in zip(jax.random.split(key, len(shapes)), shapes.items()):
      own[name] = jax.random.uniform(k, shape, minval=-1.0, maxval=1.0) / inputs**0.5
    return own, super().init(key, data)[1]

  def own_optimizer(self) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(self.decay), optax.adam(self.lr))

  def shares(self, own: dict[str, Array], per: Array, weight: Array) -> Array:
    """Returns the factor on the loss of each row, [M, B].

    Args:
      own: parameters of the weight network, name → [M, …].
      per: losses, [M, B].
      weight: weights of the batch, [B].
    """
    raw = weight_of(own, per) * weight
    return raw / jnp.maximum((raw if self.normalise else weight).sum(-1, keepdims=True), 1e-8)

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    own = jax.lax.stop_gradient(params['own'])

    def ahead(own: dict[str, Array]) -> Array:
      found = meta.loss_after(
        lambda per: self.shares(own, per, b['weight']),
        params['net'],
        b,
        batch['trusted'],
        state.extra['verified'],
        rate=ctx.lr,
        ctx=ctx,
      )
      return found.sum()

    slope = jax.grad(ahead)(own)
    move, _ = self.own_optimizer().update(slope, state.opt['own'], own)  # the step that the engine will take, too
    taught: Any = optax.apply_updates(own, move)
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C]
    per = losses.cross_entropy(logits, b['target'])
    known = jax.lax.stop_gradient(per)
    share = self.shares(taught, known, b['weight'])
    main = jnp.where(b['weight'] > 0, share * per, 0.0).sum()
    # The value of this term is 0 and its gradient is the slope, so that the engine takes the same step.
    lesson = optax.tree.vdot(slope, jax.tree.map(jnp.subtract, params['own'], own))
    return main + lesson, Out(logits=logits, metrics={'loss': per, 'weight': weight_of(taught, known)})
