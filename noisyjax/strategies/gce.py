"""GCE (Zhang & Sabuncu 2018): L_q = (1 − p_y^q)/q lies between cross-entropy (q → 0) and MAE (q = 1).

In the truncated version, a row with p_y ≤ k has the constant loss L_q(k) and no gradient. Which rows these are is
determined between epochs, without augmentation and with running statistics; `trust` is 1 for the rows that are kept.

Settings of AlanChou/Truncated-Loss (main.py, lines 147-195, revision fef5908): q 0.7, k 0.5; rows are first pruned
after 39 of 120 epochs (CIFAR-10) or 79 of 150 (CIFAR-100; the paper: 40 and 80), then every 10 epochs. SGD with
learning rate 0.01, momentum 0.9 and weight decay 1e-4, batch size 128.

Departures: pruning uses the current network and images without augmentation; the code uses the network of the best
*test* epoch, and cropped and flipped images. If no row would be kept, all are.

Plain L_q, which result tables call GCE, is the default. It is linear in the label, so that mixup may mix targets.
Truncation concerns single rows, so that mixup is refused with it.
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
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainState,
  supervised,
)


class Strategy(Base):
  """One network, trained with generalized cross-entropy.

  Attributes:
    q: exponent in [0, 1].
    truncate: whether rows are pruned. The paper has both losses; only the truncated one needs a pass over all rows.
    k: value that p_y of a row must exceed, if rows are pruned.
    start: number of epochs before rows are first pruned.
    every: number of epochs between prunings.
  """

  unit_interval = ('k',)
  q: Traced = 0.7
  truncate: bool = False
  k: Traced = 0.5
  start: Traced = 39.0
  every: Traced = 10.0

  @property
  def mix(self) -> str | None:
    return None if self.truncate else 'target'

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    per = losses.generalized_cross_entropy(logits, b['target'], self.q)  # [1, B]
    if not self.truncate:
      return supervised(per, b, logits)
    kept = b['trust'] > 0.5  # [1, B]
    # As in the paper, pruned rows count in the mean, so that the step shrinks with the pruned fraction.
    q = jnp.maximum(self.q, 1e-6)  # the same minimum as in the loss
    loss, out = supervised(jnp.where(kept, per, (1 - self.k**q) / q), b, logits)
    return loss, dataclasses.replace(out, metrics=out.metrics | {'chosen': kept})

  @property
  def refreshes(self) -> bool:
    return self.truncate  # plain L_q needs no pass over the rows

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return {'own': (jax.nn.softmax(logits) * batch['target']).sum(-1)}  # [1, B]

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    kept = (scores['own'] > self.k) & counts
    kept = jnp.where(kept.any(), kept, counts).astype(jnp.float32)
    begun = ctx.epoch >= self.start
    due = begun & (jnp.mod(ctx.epoch - self.start, jnp.maximum(self.every, 1.0)) < 1)
    old = jnp.where(begun, targets.trust, 1.0)
    return targets.replace(trust=jnp.where(due, kept, old)), state.extra
