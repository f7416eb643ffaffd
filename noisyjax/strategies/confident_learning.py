"""Confident learning (Northcutt et al. 2021): leave out the labels that held-out predictions call wrong; train anew.

Phase 1, `fold_networks`, trains K networks side by side, the m-th without the rows of fold m. Phase 2, this strategy,
asks each row's own network, which never saw it, leaves out the rows that a filter flags
(noisyjax/estimate/confident.py), and trains one new network on the others.
Settings of the paper: 4 folds; prune by noise rate, by class, both, confident joint, or argmax.
Departures: the paper's best figures train phase 2 with co-teaching; here it is cross-entropy. The weight of a class,
p(true) / p(given = true), which makes up for what was pruned, is an option (`reweight`) and off.
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
  """One new network on the rows that were not flagged.

  Attributes:
    filter: which rows are flagged: a name of `confident.FILTERS`.
    reweight: whether a class weighs as many rows as it is thought to have had.
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
        "phases: 'confident_learning' asks the networks that 'fold_networks' trains; expected it just before."
      )
    fold, targets = ctx.previous_state.extra['fold'], state.targets
    row = jnp.arange(len(fold))
    probs = scores['probs'][jnp.maximum(fold, 0), row]  # [N, C], of the network that never saw the row
    keep = ctx.rows & (targets.weight > 0) & (fold >= 0)
    wrong = confident.issues(probs, targets.label, keep, self.filter)
    weight = jnp.where(wrong, 0.0, targets.weight)
    if self.reweight:
      joint = confident.joint(probs, targets.label, keep)
      # A class of which nothing is left keeps a weight of 1.
      share = jnp.where(jnp.diag(joint) > 0, joint.sum(0) / jnp.maximum(jnp.diag(joint), 1e-8), 1.0)
      weight = weight * jnp.where(targets.label >= 0, share[targets.label], 1.0)
    trust = jnp.broadcast_to(~wrong, targets.trust.shape).astype(jnp.float32)
    return targets.replace(weight=weight, trust=trust), state.extra | {'fold': fold}
