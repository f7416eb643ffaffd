"""ELR (Liu et al. 2020): cross-entropy + λ log(1 − ⟨p, t⟩), t a running mean of the row's own predictions.

t ← β t + (1 − β) p of the training forward, p clamped to [1e-4, 1 − 1e-4] and normalised, before it is used; t = 0 at
first. Official: ResNet-34, SGD 0.02, momentum 0.9, decay 1e-3, batch 128. CIFAR-10 symmetric β 0.7, λ 3, 150 epochs,
warm restarts of 10 epochs down to 0.001; asymmetric β 0.9, λ 1, 120 epochs, ×0.01 at 40 and 80; CIFAR-100 β 0.9, λ 7,
150 epochs, ×0.01 at 80 and 120.
Departures: none in the loss. mixup is refused: t is of rows, and ELR+ says how the two join.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
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
from noisyjax.strategies.shared import row_memory as store


def remembered(memory: Array, batch: Batch, probs: Array, beta: Array | float) -> tuple[Array, Array]:
  """Returns t ← β t + (1 − β) p of the batch's rows, [M, B, C], and the memory [M, N, C] with them written."""
  new = beta * store.get(memory, batch['index']) + (1 - beta) * jax.lax.stop_gradient(probs)
  return new, store.put(memory, batch['index'], new, batch['weight'])


class Strategy(Base):
  """One network with early-learning regularisation.

  Attributes:
    beta: how much of t stays.
    strength: λ.
  """

  unit_interval = ('beta',)
  beta: Traced = 0.7
  strength: Traced = 3.0
  mix = None

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'memory': jnp.zeros((self.networks, len(data.given), data.classes), jnp.float32)}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    probs = jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)
    aim, memory = remembered(state.extra['memory'], b, probs / probs.sum(-1, keepdims=True), self.beta)
    per = losses.cross_entropy(logits, b['target']) + self.strength * losses.early_learning(logits, aim)  # [1, B]
    loss, out = supervised(per, b, logits)
    return loss, dataclasses.replace(out, extra={'memory': memory})
