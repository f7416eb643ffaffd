"""GLC, gold loss correction (Hendrycks et al. 2018): trusted rows tell T, and learn beside the corrected rest.

Phase 1 learns the given labels of the untrusted (silver) rows. T[c] is then its mean prediction over the trusted (gold)
rows of true class c, and a new network descends CE(verified) on gold and −log (Tᵀp)_given on silver rows, in one mean.
Settings of the official code: WRN-40-2, dropout 0.3, SGD 0.1 with Nesterov momentum 0.9, decay 5e-4, batch 128, cosine
to 0, 75 epochs a phase; a tenth of the rows is gold.
Departures: a class without gold keeps its label (the code has NaN); the second network starts anew, where the code
starts it from the first one's initial weights; gold and silver rows share batch statistics (the code runs them apart).
Rows are gold or silver: mixup is refused.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
  Batch,
  Batches,
  Ctx,
  Out,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  TrainData,
  TrainState,
  halves,
  predictions,
  supervised,
)
from noisyjax.estimate import transition


class Strategy(Base):
  """One network on gold and silver rows. `trust` is 1 on gold ones."""

  refresh_on = 'phase'
  needs = ('verified',)
  mix = None

  def phases(self, name: str, epochs: int) -> Phases:
    first, rest = halves(epochs)
    return (
      ('naive', first, {'rows': 'untrusted', 'labels': 'given'}),
      (name, rest, {'reset': 'all'}),
    )

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'verified': jnp.array(data.verified), 'matrix': jnp.eye(data.classes)}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    silver = losses.forward_corrected(logits, b['target'], state.extra['matrix'])
    per = jnp.where(b['trust'] > 0.5, losses.cross_entropy(logits, b['target']), silver)
    return supervised(per, b, logits)

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return predictions(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets, verified = state.targets, state.extra['verified']
    gold = verified >= 0
    keep = ctx.rows & (targets.weight > 0)
    matrix = transition.gold(scores['probs'].mean(0), verified, ctx.classes, keep)
    label = jnp.where(gold, verified, targets.label)
    trust = jnp.broadcast_to(gold, targets.trust.shape).astype(jnp.float32)
    return targets.replace(label=label, soft=None, trust=trust), state.extra | {'matrix': matrix}
