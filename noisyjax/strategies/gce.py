"""GCE (Zhang & Sabuncu 2018): L_q = (1 − p_y^q)/q lies between cross-entropy (q → 0) and MAE (q = 1).

Truncated, a row whose p_y ≤ k costs the constant L_q(k), and so pulls at nothing. Which rows these are is decided
between epochs: `trust` is 1 where a row still counts, for the rows as they are (no augmentation, running statistics).
Settings of the paper and of AlanChou/Truncated-Loss: q 0.7, k 0.5; first decided after 40 epochs of 120 (CIFAR-10) or
80 of 150 (CIFAR-100), anew every 10. SGD 0.01, momentum 0.9, decay 1e-4, batch 128.
Departures: the network as it is decides, on rows as they are, where that code asks the one of the best *test* epoch,
on cropped and flipped ones, and after 39 epochs.
Where no row would be left, all stay. Plain L_q, which tables call GCE, is the default: it is linear in the label, so
that mixup may mix targets. Truncation is of rows: mixup is refused with it.
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
  """One network under generalised cross-entropy.

  Attributes:
    q: in [0, 1].
    truncate: whether rows are pruned. The paper has both losses, and L_q does not need the other's pass over the rows.
    k: where rows are pruned, the least p_y that counts.
    start: epochs before rows are first pruned.
    every: epochs from one pruning to the next.
  """

  unit_interval = ('k',)
  q: Traced = 0.7
  truncate: bool = False
  k: Traced = 0.5
  start: Traced = 40.0
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
    # The constant counts in the mean, as in the paper: a step shrinks with the part that is pruned.
    q = jnp.maximum(self.q, 1e-6)  # as in the loss
    loss, out = supervised(jnp.where(kept, per, (1 - self.k**q) / q), b, logits)
    return loss, dataclasses.replace(out, metrics=out.metrics | {'chosen': kept})

  @property
  def refreshes(self) -> bool:
    return self.truncate  # plain L_q costs no pass over the rows

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
