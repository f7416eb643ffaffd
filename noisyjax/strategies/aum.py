"""AUM (Pleiss et al. 2020, section 3): drop the rows whose margin, averaged over training, is that of wrong rows.

Two phases. Measuring: networks with a class C + 1, which each learns on its own threshold set, N/(C + 1) random rows
that are wrong on purpose; AUM = mean over epochs of z_y − max_{c≠y} z_c, of the training forward. Retraining: a new
network on the rows whose AUM reaches the 99th percentile of the threshold rows' AUMs.
Hyper-parameters of the official code: two networks; 150 epochs of measuring (batch 64, rate 0.1 that never drops, decay
1e-4), then 300 of retraining (batch 256, drops at 50 and 75 %): the plan here splits the run 1 : 2. The first epoch is
not measured.
Departures: the two networks train side by side in one phase. A row is judged by the network for which it was no
threshold row; where it was none for either, by the mean of its distances to the two percentiles (the code then keeps
what one of the two keeps). The percentile is interpolated. A threshold set is N/(C + 1) rows as in the paper (the code:
N/C). Dropped rows leave the stream (in the code they stay in it, with weight 0, so that its epochs keep their steps).
Accuracy and dynamics are of the C classes and the given labels.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import dynamics, losses
from noisyjax.engine.strategy import Strategy as Base, supervised
from noisyjax.estimate.rank import place
from noisyjax.strategies.shared import row_memory
from noisyjax.system.errors import UserError


class Strategy(Base):
  """Measures, or (in the phase after) retrains.

  Attributes:
    networks: two while measuring, one after.
    measure: which of the two phases this is.
    percentile: of the threshold rows' AUMs, which a row must reach.
  """

  networks: int = 2
  measure: bool = True
  percentile: float = 99.0

  @property
  def extra_classes(self):
    return int(self.measure)

  @property
  def refresh_on(self):
    return 'epoch' if self.measure else 'phase'

  @property
  def mix(self):
    return None if self.measure else 'target'

  def phases(self, name, epochs):
    first = max(epochs // 3, 1)
    retrain = {f'strategy.{name}.measure': False, f'strategy.{name}.networks': 1, 'reset': 'all'}
    return (name, first, {'schedule.name': 'constant'}), (name, max(epochs - first, 1), retrain)

  def init(self, key, data):
    shape = (self.networks, len(data.given))
    if not self.measure:
      return {}, {}
    return {}, {
      'threshold': jnp.zeros(shape, bool),
      'margin': jnp.zeros(shape, jnp.float32),
      'count': jnp.zeros(shape, jnp.int32),
      'last': jnp.full(shape, -1, jnp.int32),
    }

  def members(self, state):
    return {'train': (state.targets.weight > 0) & (state.targets.trust.min(0) > 0.5)}

  def loss(self, params, state, batch, ctx):
    if not self.measure:
      return super().loss(params, state, batch, ctx)
    b, extra = batch['train'], state.extra
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C + 1]
    classes = logits.shape[-1] - 1
    wrong = row_memory.get(extra['threshold'], b['index'])  # [M, B]
    label = jnp.where(wrong, classes, b['label'])
    target = jnp.where(wrong[..., None], jnp.eye(classes + 1)[-1], jnp.pad(b['target'], ((0, 0), (0, 1))))
    per = losses.cross_entropy(logits, target)
    loss, out = supervised(per, b, logits[..., :classes])
    # One measurement a row and epoch, and none in the first epoch unless it is the only one.
    fresh = row_memory.get(extra['last'], b['index']) < ctx.epoch
    valid = fresh & (b['weight'] > 0) & (label >= 0) & ((ctx.epoch > 0) | (ctx.epochs < 2))
    margin = dynamics.margin(jax.lax.stop_gradient(logits), label)
    put = lambda name, new: row_memory.put(extra[name], b['index'], new, valid)
    old = {name: row_memory.get(extra[name], b['index']) for name in ('margin', 'count')}
    new = {
      'margin': put('margin', old['margin'] + margin),
      'count': put('count', old['count'] + 1),
      'last': put('last', jnp.full(label.shape, ctx.epoch)),
    }
    return loss, dataclasses.replace(out, extra=extra | new)

  def refresh(self, state, scores, ctx):
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    if self.measure:
      return targets.replace(trust=jnp.ones_like(targets.trust)), self._thresholds(state.extra, counts, ctx)
    found = ctx.previous.extra
    if 'threshold' not in found:
      raise UserError(
        "phases: strategy 'aum' with measure=False retrains; expected, before it, 'aum' with measure=True."
      )
    good = keep(found['margin'], found['count'], found['threshold'], counts, self.percentile)
    return targets.replace(trust=jnp.broadcast_to(good, targets.trust.shape).astype(jnp.float32)), state.extra

  def _thresholds(self, extra, counts, ctx):
    """Draws disjoint threshold sets on entering the phase; later they stay."""
    shuffled = place(jnp.where(counts, jax.random.uniform(ctx.key, counts.shape), jnp.inf))
    size = counts.sum() // (ctx.classes + 1)
    drawn = counts & (shuffled // jnp.maximum(size, 1) == jnp.arange(self.networks)[:, None]) & (size > 0)
    return extra | {'threshold': jnp.where(ctx.epoch == 0, drawn, extra['threshold'])}

  def probs(self, logits):
    return super().probs(logits[..., : logits.shape[-1] - self.extra_classes])


def keep(margin, count, threshold, counts, percentile):
  """Returns bool [N], the rows to retrain on: margin sums, count and threshold [M, N]; counts [N].

  A row that no network measured as an ordinary one is kept.
  """
  measured = counts & (count > 0)
  aum = margin / jnp.maximum(count, 1)
  wrong = jnp.where(threshold & measured, aum, jnp.nan)
  line = jnp.nanquantile(wrong, percentile / 100, axis=1, keepdims=True)  # [M, 1]; NaN where there is no such row
  ordinary = measured & ~threshold & jnp.isfinite(line)
  return losses.weighted_mean((aum - line).T, ordinary.T) >= 0
