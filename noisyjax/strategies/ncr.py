"""NCR, neighbor consistency (Iscen et al. 2022): draws each prediction to those of rows with similar features.

The loss is (1 − α) CE(y_i, p_i) + α T² KL(q_i ‖ p_i) after a warm-up with cross-entropy only. In the second term, p is
softmax(logits / T), and q_i = Σ_j s_ij^γ p_j / Σ_j s_ij^γ over the k nearest rows j ≠ i, with the similarity s =
max(cosine of the features, 0).

Official settings (google-research/scenic, mini-ImageNet): ResNet-18, SGD with learning rate 0.1, momentum 0.9 and
weight decay 5e-4, batch size 128, 130 epochs, cosine schedule after a linear warm-up of 5 epochs; α 0.3 from epoch 10,
T 2, γ 1; k 10, 100 and 5 at 20, 40 and 80 % noise.

Departures: the neighbors are searched among all training rows, with the features and predictions of the last visit to
each row (in the paper: among the rows of the batch). q is a constant (in the official loss, the gradient flows through
it). A row without similar neighbors has cross-entropy only. Mixup is refused, because the memory belongs to single
rows.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
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
from noisyjax.strategies.shared import row_memory


def of_neighbours(
  features: Array, index: Array, seen: Array, probs: Array, count: int, power: Array | float
) -> tuple[Array, Array]:
  """Averages the predictions of the nearest rows.

  Args:
    features: features of the batch, of unit length, [B, F].
    index: row numbers of the batch, int32 [B].
    seen: features of all rows, of unit length, [N, F]; zeros for rows that were not visited yet.
    probs: predictions of all rows, [N, C].
    count: number of neighbors k, static.
    power: exponent γ of the similarities.

  Returns:
    q [B, C], which sums to 1, or to 0 if no row is similar; and whether any row is similar, bool [B].
  """
  near = jnp.matmul(features, seen.T, precision='highest')  # [B, N]
  near = near.at[jnp.arange(len(index)), index].set(-1.0)  # a row is not a neighbor of itself
  best, who = jax.lax.top_k(near, min(count, len(seen)))  # [B, k]
  share = jnp.where(best > 0, jnp.maximum(best, 1e-12) ** power, 0.0)
  total = share.sum(-1, keepdims=True)
  mean = (share[..., None] * probs[who]).sum(1) / jnp.where(total > 0, total, 1.0)
  return mean, total[:, 0] > 0


class Strategy(Base):
  """One network, trained to make similar predictions for rows with similar features.

  Attributes:
    alpha: α, the weight of the consistency term; cross-entropy has weight 1 − α.
    neighbours: k, the number of neighbors.
    temperature: T, the temperature of the predictions in the consistency term.
    power: γ, the exponent of the similarities.
    warmup: number of initial epochs with cross-entropy only.
  """

  unit_interval = ('alpha',)
  alpha: Traced = 0.3
  neighbours: int = 10
  temperature: Traced = 2.0
  power: Traced = 1.0
  warmup: Traced = 10.0
  mix = None

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    wide = lambda width: jnp.zeros((self.networks, len(data.given), width), jnp.float32)
    return {}, {'features': wide(data.features), 'probs': wide(data.classes)}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, features = ctx.net(params, b['weak'])  # [1, B, C], [1, B, F]
    still = jax.lax.stop_gradient(features.astype(jnp.float32))
    still = still / jnp.maximum(jnp.linalg.norm(still, axis=-1, keepdims=True), 1e-12)
    cooled = jax.nn.log_softmax(logits / jnp.maximum(self.temperature, 1e-3))
    new = {'features': still, 'probs': jnp.exp(jax.lax.stop_gradient(cooled))}
    extra = {name: row_memory.put(state.extra[name], b['index'], new[name], b['weight']) for name in new}
    goal, found = of_neighbours(
      still[0], b['index'], extra['features'][0], extra['probs'][0], self.neighbours, self.power
    )
    apart = self.temperature**2 * (goal * (jnp.log(jnp.maximum(goal, 1e-16)) - cooled)).sum(-1)  # [1, B]
    alpha = jnp.where((ctx.epoch >= self.warmup) & found, self.alpha, 0.0)
    per = (1 - alpha) * losses.cross_entropy(logits, b['target']) + alpha * apart
    loss, out = supervised(per, b, logits)
    return loss, dataclasses.replace(out, metrics=out.metrics | {'apart': apart}, extra=extra)
