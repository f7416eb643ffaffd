"""Shared parts of methods that meta-learn example weights: the loss of verified rows after a virtual training step.

With training losses ℓ_i, weights w and a rate η, the virtual parameters of each network are
θ̂(w) = θ − η ∇_θ Σ_i w_i ℓ_i(θ), and L(w) = mean_j ℓ_j(θ̂(w)) over a batch of verified rows (Ren et al. 2018, eqs. 4–6;
Shu et al. 2019, eqs. 3–4). Since ∂L/∂w_i = −η ⟨∇ℓ_i(θ), ∇L(θ̂)⟩, a row gains weight if a step on it lowers the loss of
the verified rows. The gradient is reverse mode over reverse mode, because every convolution of `models/layers/conv.py`
supports reverse mode, and some support nothing else.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from noisyjax.engine import losses
from noisyjax.engine.strategy import Batch, Ctx, PyTree, Strategy as Base, TrainData, TrainState, Views


def loss_after(
  weigh: Callable[[Array], Array],
  net: PyTree,
  train: Batch,
  trusted: Batch,
  labels: Array,
  rate: Array | float,
  ctx: Ctx,
) -> Array:
  """Returns each network's mean loss of the verified rows after the virtual step, [M]; 0 if there are none.

  The result is differentiable with respect to the variables that `weigh` closes over, but not with respect to `net`.
  The running statistics do not change.

  Args:
    weigh: function from losses [M, B], without gradient, to weights [M, B] of the virtual step's loss.
    net: parameters before the virtual step.
    train: batch of labeled rows.
    trusted: batch of verified rows.
    labels: verified labels of all rows, int32 [N]; -1 = not verified.
    rate: learning rate η of the virtual step.
    ctx: context of the loss.
  """

  def per_row(net: PyTree, batch: Batch, target: Array) -> Array:
    logits, _ = ctx.net({'net': net}, batch['weak'], keep=False)
    return jnp.where(batch['weight'] > 0, losses.cross_entropy(logits, target), 0.0)  # [M, B]

  def weighted(net: PyTree) -> Array:
    per = per_row(net, train, train['target'])
    # Differentiating the backward pass costs 2 more passes, by XLA's count of operations. Without dropout, XLA also
    # merges this forward pass with that of the real step.
    ctx.passes += 2 * per.size
    return (weigh(jax.lax.stop_gradient(per)) * per).sum()  # over networks, too: they do not couple

  net = jax.lax.stop_gradient(net)
  ahead = jax.tree.map(lambda p, g: p - rate * g, net, jax.grad(weighted)(net))
  target = jax.nn.one_hot(labels[trusted['index']], ctx.classes)  # [B, C]
  return losses.weighted_mean(per_row(ahead, trusted, target), trusted['weight'])


class Reweighting(Base):
  """A method that trains on all rows with given labels, and on a second batch of verified rows.

  The stream of verified rows is declared unlabeled because it does not use the targets: it may hold rows without a
  given label.

  Attributes:
    reuse: whether verified rows are also trained on, with their given labels. Both official codes leave them out.
  """

  streams = {'train': Views('weak'), 'trusted': Views('weak', labeled=False)}
  mix = None
  needs = ('verified',)
  reuse: bool = False

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'verified': jnp.asarray(data.verified, jnp.int32)}

  def members(self, state: TrainState) -> dict[str, Array]:
    rows = state.targets.weight > 0
    known = state.extra['verified'] >= 0
    return {'train': rows if self.reuse else rows & ~known, 'trusted': rows & known}
