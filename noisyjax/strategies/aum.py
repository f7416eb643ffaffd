"""AUM (Pleiss et al. 2020, section 3): drops rows whose mean margin is as low as that of rows with known wrong labels.

The method has two phases. In the first, `aum_margins` trains networks with an additional class C + 1. Each network
learns this class on its own threshold set, N/(C + 1) random rows that are mislabeled on purpose. The area under the
margin (AUM) of a row is the mean over epochs of z_y − max_{c≠y} z_c, with the logits z of the training forward pass;
the first epoch is not measured. In the second phase, this strategy trains a new network on the rows whose AUM is at
least the 99th percentile of the AUMs of the threshold rows.

Settings of the official code: two networks; 150 epochs of measuring with batch size 64, constant learning rate 0.1 and
weight decay 1e-4; then 300 epochs of retraining with batch size 256, the learning rate divided by 10 at 50 % and 75 %.
The plan here splits the epochs of the run in the same ratio, 1 : 2.

Departures: the two networks are trained side by side in one phase. A row is judged by the network for which it was not
a threshold row. If it was a threshold row of neither, it is kept if the mean of its distances to the two percentiles is
at least 0 (the code keeps a row that either network keeps). The percentile is interpolated. A threshold set has N/(C +
1) rows, as in the paper (the code: N/C). Dropped rows leave the stream; in the code they stay in it with weight 0, so
that an epoch keeps its number of steps. Accuracy and dynamics refer to the C classes and the given labels.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, Ctx, Phases, PyTree, Scores, Strategy as Base, Targets, Traced, TrainState
from noisyjax.system.errors import UserError


class Strategy(Base):
  """A new network, trained on the rows that are not dropped.

  Attributes:
    percentile: percentile of the threshold rows' AUMs that the AUM of a row must reach.
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
      raise UserError(
        "phases: 'aum' needs the margins of 'aum_margins', which is not the phase before it; put 'aum_margins' there."
      )
    counts = targets.counted(ctx.rows)  # [N]
    good = keep(found['margin'], found['count'], found['threshold'], counts, self.percentile)
    return targets.replace(trust=jnp.broadcast_to(good, targets.trust.shape).astype(jnp.float32)), state.extra


def keep(margin: Array, count: Array, threshold: Array, counts: Array, percentile: Array | float) -> Array:
  """Returns the rows to retrain on, bool [N]. Rows that no network measured outside its threshold set are kept.

  Args:
    margin: sums of margins, float32 [M, N].
    count: number of margins in each sum, int32 [M, N].
    threshold: threshold rows of each network, bool [M, N].
    counts: usable rows, bool [N].
    percentile: percentile of the threshold rows' AUMs, in 0–100.
  """
  measured = counts & (count > 0)
  aum = margin / jnp.maximum(count, 1)
  wrong = jnp.where(threshold & measured, aum, jnp.nan)
  line = jnp.nanquantile(wrong, percentile / 100, axis=1, keepdims=True)  # [M, 1]; NaN if there are no threshold rows
  ordinary = measured & ~threshold & jnp.isfinite(line)
  return losses.weighted_mean((aum - line).T, ordinary.T) >= 0
