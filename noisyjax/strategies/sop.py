"""SOP (Liu et al. 2022): each row learns its label's noise s = u²⊙y − v²⊙(1 − y), which stays sparse where it can.

CE(normalised(max(p + u²⊙y − v²⊙(1 − y), 1e-4)), y) + ‖hard(p) + s − y‖², both squares clipped to [0, 1]; u [N, 1] and
v [N, C] start at N(0, 1e-8) and have their own SGD without momentum or decay, whose rates do not fall. As in the
official code, v learns from the second term alone, u from both (the paper: from the first).
Official rates (u, v): CIFAR-100 1 and 10, asymmetric noise 0.1 and 100; the defaults are a rerun's for CIFAR-10N, as
the paper's table was not at hand. PreActResNet-18, SGD 0.02, momentum 0.9, decay 1e-3 (CIFAR-10N: 5e-4), batch 128,
300 epochs, cosine to 2e-4.
Departures: none known in the loss. mixup is refused: u and v are of rows.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

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
  """Returns SOP's loss per example [M, B], and the predictions, noise added, that are to match the label [M, B, C]."""
  y, index = batch['target'], batch['index']
  plus = jnp.clip(own['u'][index] ** 2 * y, 0.0, 1.0)  # [B, C]
  minus = jnp.clip(own['v'][index] ** 2 * (1 - y), 0.0, 1.0)
  probs = jnp.maximum(jax.nn.softmax(logits) + plus - jax.lax.stop_gradient(minus), FLOOR)
  probs = jnp.clip(probs / probs.sum(-1, keepdims=True), FLOOR, 1.0)
  hard = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1])
  return -(y * jnp.log(probs)).sum(-1) + ((hard + plus - minus - y) ** 2).sum(-1), probs


class Strategy(Base):
  """One network, and two learnt vectors per row.

  Attributes:
    lr_u: learning rate of u.
    lr_v: learning rate of v.
    scale: standard deviation of their first values.
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
