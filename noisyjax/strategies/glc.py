"""GLC, gold loss correction (Hendrycks et al. 2018): T, estimated on trusted rows, corrects the loss of the others.

Phase 1 trains on the given labels of the untrusted (silver) rows. T[c] is the mean prediction of its network over the
trusted (gold) rows of true class c. Phase 2 trains a new network on the mean of CE(verified) of gold rows and −log
(Tᵀp)_given of silver rows.

Settings of the official code: WRN-40-2 with dropout 0.3, SGD with learning rate 0.1, Nesterov momentum 0.9 and weight
decay 5e-4, batch size 128, cosine schedule to 0, 75 epochs per phase; a tenth of the rows is gold.

Departures: for a class without gold rows, T[c] is the identity (the code: NaN). The second network has new initial
weights (the code: those of the first one). Gold and silver rows share batch statistics (the code passes them through
the network separately). Mixup is refused, because each row is either gold or silver.
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
  """One network, trained on gold and silver rows; `trust` is 1 for gold rows and 0 for silver rows."""

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
