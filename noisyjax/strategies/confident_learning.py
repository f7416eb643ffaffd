"""Confident learning (Northcutt et al. 2021): leave out the labels that held-out predictions call wrong; train anew.

Phase 1 trains K networks side by side, the m-th without the rows of fold m (folds are stratified by given label).
Phase 2 asks each row's own network, which never saw it, leaves out the rows that a filter flags
(noisyjax/estimate/confident.py), and trains one new network on the others.
Settings of the paper: 4 folds; prune by noise rate, by class, both, confident joint, or argmax.
Departures: the paper's best figures train phase 2 with co-teaching; here it is cross-entropy. The weight of a class,
p(true) / p(given = true), which makes up for what was pruned, is an option (`reweight`) and off.
"""

import jax
import jax.numpy as jnp
import numpy as np

from noisyjax.engine.strategy import Strategy as Base, halves, predictions
from noisyjax.estimate import confident
from noisyjax.system.errors import UserError, check_choice


def draw_folds(key, label, rows, twin, count):
  """Returns each row's fold, int32 [N]: as many of a class's rows in each, or one more; -1 for rows that do not count.

  Args:
    key: of the draw. label: int32 [N]. rows: bool [N], those that count. twin: int32 [N], the first row of the same
      image; such rows share a fold: a network that has seen one cannot judge the other. count: K.
  """
  order = jnp.lexsort((jax.random.uniform(key, label.shape), label, ~rows))
  fold = jnp.zeros(label.shape, jnp.int32).at[order].set(jnp.arange(len(label)) % count)
  number = jnp.arange(len(label))
  leader = jnp.full(label.shape, len(label)).at[twin].min(jnp.where(rows, number, len(label)))[twin]  # of the image
  return jnp.where(rows, fold[leader], -1)  # where rows do not count, there may be no leader


class Strategy(Base):
  """Trains the folds' networks, or (with one network) the last one.

  Attributes:
    networks: K, the folds; 1 = filter by the phase before, and retrain.
    filter: which rows are flagged: a name of `confident.FILTERS`.
    reweight: whether a class weighs as many rows as it is thought to have had.
  """

  networks: int = 4
  filter: str = 'prune_by_noise_rate'
  reweight: bool = False

  @property
  def refresh_on(self):
    return 'phase' if self.networks == 1 else 'epoch'

  @property
  def score(self):
    return predictions if self.networks == 1 else None

  @property
  def refresh(self):
    return self._filtered if self.networks == 1 else self._divided

  def phases(self, name, epochs):
    first, rest = halves(epochs)
    last = {f'strategy.{name}.networks': 1, 'reset': 'all'}
    return (name, first, {}), (name, rest, last)

  def init(self, key, data):
    check_choice('strategy.confident_learning.filter', self.filter, confident.FILTERS)
    extra = {'fold': jnp.full(len(data.given), -1, jnp.int32)}
    if self.networks == 1:
      return {}, extra
    flat = np.ascontiguousarray(data.images).reshape(len(data.images), -1)
    _, first, same = np.unique(flat.view(f'V{flat.shape[1]}')[:, 0], return_index=True, return_inverse=True)
    return {}, extra | {'twin': jnp.asarray(first[same], jnp.int32)}

  def members(self, state):
    if self.networks == 1:
      return super().members(state)
    fold = state.extra['fold']
    return {'train': (fold >= 0) & (fold != jnp.arange(self.networks)[:, None])}  # [K, N]

  def _divided(self, state, scores, ctx):
    rows, extra = state.targets.counted(ctx.rows), state.extra
    fold = draw_folds(ctx.key, state.targets.label, rows, extra['twin'], self.networks)
    return state.targets, extra | {'fold': jnp.where(ctx.epoch == 0, fold, extra['fold'])}

  def _filtered(self, state, scores, ctx):
    if 'fold' not in ctx.previous.extra:
      raise UserError(
        "phases: strategy 'confident_learning' with networks=1 filters and retrains; expected, before it, "
        "'confident_learning' with two networks or more."
      )
    fold, targets = ctx.previous.extra['fold'], state.targets
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
