"""What meta-learned example weights share: the loss of the verified rows after one virtual step on weighted rows.

With training losses ℓ_i, weights w and a rate η, each network's virtual parameters are θ̂(w) = θ − η ∇_θ Σ_i w_i ℓ_i(θ),
and L(w) = mean_j ℓ_j(θ̂(w)) over a batch of verified rows (Ren et al. 2018, eqs. 4–6; Shu et al. 2019, eqs. 3–4).
∂L/∂w_i = −η ⟨∇ℓ_i(θ), ∇L(θ̂)⟩: a row weighs more where a step on it helps the verified rows. The gradient is taken in
reverse mode twice, the only mode that every convolution of `models/conv.py` has.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Ctx, PyTree, Strategy as Base, Views

Array = jax.Array


def loss_after(weigh, net: PyTree, train: dict, trusted: dict, labels: Array, rate, ctx: Ctx) -> Array:
  """Returns each network's mean loss [M] of the verified rows after the virtual step; 0 where there are none.

  Differentiable in what `weigh` closes over, and in nothing else: no gradient reaches `net`, and no statistics move.

  Args:
    weigh: losses [M, B], without gradient → weights [M, B], by which the losses are multiplied and then summed.
    net: the parameters to start from. train: a labeled batch. trusted: a batch of verified rows.
    labels: verified labels of all rows, int32 [N], -1 = none. rate: η.
  """

  def per_row(net, batch, target):
    logits, _ = ctx.net({'net': net}, batch['weak'], keep=False)
    return jnp.where(batch['weight'] > 0, losses.cross_entropy(logits, target), 0.0)  # [M, B]

  def weighted(net):
    per = per_row(net, train, train['target'])
    # Differentiating the backward pass costs another 2. (By XLA's count of operations. It also finds that, without
    # dropout, this forward pass is that of the real step, and runs it once.)
    ctx.passes += 2 * per.size
    return (weigh(jax.lax.stop_gradient(per)) * per).sum()  # over networks, too: they do not couple

  net = jax.lax.stop_gradient(net)
  ahead = jax.tree.map(lambda p, g: p - rate * g, net, jax.grad(weighted)(net))
  target = jax.nn.one_hot(labels[trusted['index']], ctx.classes)  # [B, C]
  return losses.weighted_mean(per_row(ahead, trusted, target), trusted['weight'])


class Reweighting(Base):
  """All rows with their given labels, and beside them a batch of verified rows with their verified ones.

  The verified rows' stream is unlabeled, since its labels are not the targets: a row without a given label may be in
  it.
  """

  streams = {'train': Views('weak'), 'trusted': Views('weak', labeled=False)}
  mix = None
  needs = ('verified',)

  def init(self, key, data):
    return {}, {'verified': jnp.asarray(data.verified, jnp.int32)}

  def members(self, state):
    rows = state.targets.weight > 0
    return {'train': rows, 'trusted': rows & (state.extra['verified'] >= 0)}
