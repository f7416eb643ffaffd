"""Confident learning (Northcutt et al. 2021): drops rows that out-of-sample predictions flag as wrong, then retrains.

Phase 1, `fold_networks`, trains K networks side by side, network m on all rows outside fold m. Phase 2, this strategy,
takes the prediction of each row from the network that was not trained on it, drops the rows that a filter flags
(noisyjax/estimate/confident.py), and trains a new network on the others.

Settings of the paper: 4 folds; rows are pruned by noise rate, by class, by both, by the confident joint, or by argmax.

Departures: the best results of the paper train phase 2 with co-teaching; here it is cross-entropy. The class weight
p(true) / p(given = true), which compensates for pruned rows, is an option (`reweight`), off by default.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import (
  Array,
  Batch,
  Ctx,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  TrainData,
  TrainState,
  halves,
  predictions,
)
from noisyjax.estimate import confident
from noisyjax.system.errors import UserError, check_choice


class Strategy(Base):
  """A new network, trained on the rows that are not flagged.

  Attributes:
    filter: name of the filter that flags rows, a key of `confident.FILTERS`.
    reweight: whether rows are weighted by p(true) / p(given = true) of their class, to compensate for pruned rows.
  """

  refresh_on = 'phase'
  filter: str = 'prune_by_noise_rate'
  reweight: bool = False

  def phases(self, name: str, epochs: int) -> Phases:
    first, rest = halves(epochs)
    return ('fold_networks', first, {}), (name, rest, {'reset': 'all'})

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    check_choice('strategy.confident_learning.filter', self.filter, confident.FILTERS)
    return {}, {'fold': jnp.full(len(data.given), -1, jnp.int32)}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return predictions(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    if 'fold' not in ctx.previous_state.extra:
      raise UserError(
        "phases: 'confident_learning' needs the networks of 'fold_networks', which is not the phase before it; "
        "put 'fold_networks' there."
      )
    fold, targets = ctx.previous_state.extra['fold'], state.targets
    row = jnp.arange(len(fold))
    probs = scores['probs'][jnp.maximum(fold, 0), row]  # [N, C], from the network that was not trained on the row
    keep = ctx.rows & (targets.weight > 0) & (fold >= 0)
    wrong = confident.issues(probs, targets.label, keep, self.filter)
    weight = jnp.where(wrong, 0.0, targets.weight)
    if self.reweight:
      joint = confident.joint(probs, targets.label, keep)
      # A class without remaining rows has weight 1.
      share = jnp.where(jnp.diag(joint) > 0, joint.sum(0) / jnp.maximum(jnp.diag(joint), 1e-8), 1.0)
      weight = weight * jnp.where(targets.label >= 0, share[targets.label], 1.0)
    trust = jnp.broadcast_to(~wrong, targets.trust.shape).astype(jnp.float32)
    return targets.replace(weight=weight, trust=trust), state.extra | {'fold': fold}
