"""AUM (Pleiss et al. 2020, section 3): drop the rows whose margin, averaged over training, is that of wrong rows.

Two phases. `aum_margins` measures: networks with a class C + 1, which each learns on its own threshold set, N/(C + 1)
random rows that are wrong on purpose; AUM = mean over epochs of z_y − max_{c≠y} z_c, of the training forward. This
strategy retrains: a new network on the rows whose AUM reaches the 99th percentile of the threshold rows' AUMs.
Hyper-parameters of the official code: two networks; 150 epochs of measuring (batch 64, rate 0.1 that never drops, decay
1e-4), then 300 of retraining (batch 256, drops at 50 and 75 %): the plan here splits the run 1 : 2. The first epoch is
not measured.
Departures: the two networks train side by side in one phase. A row is judged by the network for which it was no
threshold row; where it was none for either, by the mean of its distances to the two percentiles (the code then keeps
what one of the two keeps). The percentile is interpolated. A threshold set is N/(C + 1) rows as in the paper (the code:
N/C). Dropped rows leave the stream (in the code they stay in it, with weight 0, so that its epochs keep their steps).
Accuracy and dynamics are of the C classes and the given labels.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Ctx, Phases, PyTree, Scores, Strategy as Base, Targets, Traced, TrainState
from noisyjax.system.errors import UserError


class Strategy(Base):
  """One new network on the rows that were not dropped.

  Attributes:
    percentile: of the threshold rows' AUMs, which a row must reach.
  """

  refresh_on = 'phase'
  percentile: Traced = 99.0

  def phases(self, name: str, epochs: int) -> Phases:
    first = max(epochs // 3, 1)
    return (
      ('aum_margins', first, {'schedule.name': 'constant'}),
      (name, max(epochs - first, 1), {'reset': 'all'}),
    )

  def members(self, state: TrainState) -> dict[str, Array]:
    return {'train': (state.targets.weight > 0) & (state.targets.trust.min(0) > 0.5)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets, found = state.targets, ctx.previous_state.extra
    if 'threshold' not in found:
      raise UserError("phases: 'aum' retrains by the margins that 'aum_margins' measures; expected it just before.")
    counts = targets.counted(ctx.rows)  # [N]
    good = keep(found['margin'], found['count'], found['threshold'], counts, self.percentile)
    return targets.replace(trust=jnp.broadcast_to(good, targets.trust.shape).astype(jnp.float32)), state.extra


def keep(margin: Array, count: Array, threshold: Array, counts: Array, percentile: Array | float) -> Array:
  """Returns bool [N], the rows to retrain on. A row that no network measured as an ordinary one is kept.

  Args:
    margin: float32 [M, N], sums of margins.
    count: int32 [M, N], how many each is the sum of.
    threshold: bool [M, N], the rows that are wrong on purpose.
    counts: bool [N], rows that count.
    percentile: of the threshold rows' AUMs.
  """
  measured = counts & (count > 0)
  aum = margin / jnp.maximum(count, 1)
  wrong = jnp.where(threshold & measured, aum, jnp.nan)
  line = jnp.nanquantile(wrong, percentile / 100, axis=1, keepdims=True)  # [M, 1]; NaN where there is no such row
  ordinary = measured & ~threshold & jnp.isfinite(line)
  return losses.weighted_mean((aum - line).T, ordinary.T) >= 0
