"""ELR (Liu et al. 2020): cross-entropy + λ log(1 − ⟨p, t⟩), with a running mean t of the predictions of each row.

t ← β t + (1 − β) p, with p from the training forward pass, clamped to [1e-4, 1 − 1e-4] and normalized. t starts at 0
and is updated before it is used.

Official settings: ResNet-34, SGD with learning rate 0.02, momentum 0.9 and weight decay 1e-3, batch size 128. CIFAR-10
with symmetric noise: β 0.7, λ 3, 150 epochs, warm restarts every 10 epochs down to 0.001; with asymmetric noise: β 0.9,
λ 1, 120 epochs, learning rate × 0.01 at epochs 40 and 80. CIFAR-100: β 0.9, λ 7, 150 epochs, × 0.01 at 80 and 120.

Departures: none in the loss. The engine's mixup is refused, because t belongs to single rows; ELR+ defines how to
combine the two.
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
  """Updates the running means of the rows of a batch.

  Args:
    memory: running means of all rows, [M, N, C].
    batch: rows to update.
    probs: their predictions p, [M, B, C].
    beta: β.

  Returns:
    t ← β t + (1 − β) p of the batch, [M, B, C], and the updated memory, [M, N, C].
  """
  new = beta * store.get(memory, batch['index']) + (1 - beta) * jax.lax.stop_gradient(probs)
  return new, store.put(memory, batch['index'], new, batch['weight'])


class Strategy(Base):
  """One network with early-learning regularisation.

  Attributes:
    beta: β, the decay of the running mean t.
    strength: λ, the weight of the regularization.
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
