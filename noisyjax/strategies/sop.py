"""SOP (Liu et al. 2022): learns the label noise of each row, s = u²⊙y − v²⊙(1 − y), with implicit sparsity.

The loss is CE(normalize(max(p + u²⊙y − v²⊙(1 − y), 1e-4)), y) + ‖hard(p) + s − y‖², where both squares are clipped to
[0, 1] and hard(p) is the one-hot argmax. u [N, 1] and v [N, C] are initialized with a standard deviation of 1e-8 and
trained by separate SGD without momentum and weight decay, at constant learning rates. As in the official code, v is
trained by the second term only, and u by both (the paper: by the first).

Official learning rates (u, v): CIFAR-100 1 and 10, asymmetric noise 0.1 and 100. The defaults are those of a rerun on
CIFAR-10N, because the table of the paper was not available. PreActResNet-18, SGD with learning rate 0.02, momentum 0.9
and weight decay 1e-3 (CIFAR-10N: 5e-4), batch size 128, 300 epochs, cosine schedule to 2e-4.

Departures: no known departures in the loss. Mixup is refused, because u and v belong to single rows.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from noisyjax.engine import placement
from noisyjax.engine.strategy import (
  Array,
  Batch,
  Batches,
  Ctx,
  Out,
  PyTree,
  Strategy as Base,
  Traced,
  TrainData,
  TrainState,
  supervised,
)

FLOOR = 1e-4


def explained(own: dict[str, Array], batch: Batch, logits: Array) -> tuple[Array, Array]:
  """Computes SOP's loss.

  Args:
    own: learnables u [N, 1] and v [N, C].
    batch: rows to compute the loss for.
    logits: their logits, [M, B, C].

  Returns:
    The loss per example [M, B], and the predictions with the noise added, which should match the labels, [M, B, C].
  """
  y = batch['target']
  u, v = placement.apart(lambda u, v, index: (u[index], v[index]))(own['u'], own['v'], batch['index'])
  plus = jnp.clip(u**2 * y, 0.0, 1.0)  # [B, C]
  minus = jnp.clip(v**2 * (1 - y), 0.0, 1.0)
  probs = jnp.maximum(jax.nn.softmax(logits) + plus - jax.lax.stop_gradient(minus), FLOOR)
  probs = jnp.clip(probs / probs.sum(-1, keepdims=True), FLOOR, 1.0)
  hard = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1])
  return -(y * jnp.log(probs)).sum(-1) + ((hard + plus - minus - y) ** 2).sum(-1), probs


class Strategy(Base):
  """One network, and two learned vectors for each row.

  Attributes:
    lr_u: learning rate of u.
    lr_v: learning rate of v.
    scale: standard deviation of the initial values of u and v.
  """

  lr_u: Traced = 10.0
  lr_v: Traced = 10.0
  scale: Traced = 1e-8
  mix = None

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    shapes = {'u': (len(data.given), 1), 'v': (len(data.given), data.classes)}
    keys = dict(zip(shapes, jax.random.split(key)))
    return {name: self.scale * jax.random.normal(keys[name], shape) for name, shape in shapes.items()}, {}

  def own_optimizer(self) -> optax.GradientTransformation:
    def update(grads: Any, _: Any) -> PyTree:
      return {'u': -self.lr_u * grads['u'], 'v': -self.lr_v * grads['v']}

    return optax.stateless(update)

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    per, _ = explained(params['own'], b, logits)
    return supervised(per, b, logits)
