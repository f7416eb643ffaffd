"""AUM, first phase (Pleiss et al. 2020, section 3): measures the margin of each row while learning mislabeled rows.

Each network has an additional class C + 1 and learns it on its own threshold set, N/(C + 1) random rows that are drawn
when the phase begins. The margin z_y − max_{c≠y} z_c of every row, from the training forward pass, is added up once per
epoch; for a threshold row, y is the additional class. The mean over epochs is the AUM of the row. The first epoch is
not measured, unless it is the only one. The strategy `aum` uses the results, which are stored in `extra`; its docstring
lists the departures of both phases from the paper.
"""

import dataclasses

import jax
import jax.numpy as jnp

from noisyjax.engine import dynamics, losses
from noisyjax.engine.strategy import (
  Array,
  Batches,
  Ctx,
  Out,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  TrainData,
  TrainState,
  supervised,
)
from noisyjax.estimate.rank import place
from noisyjax.strategies.shared import row_memory


class Strategy(Base):
  """Networks that learn their threshold rows as an additional class.

  Attributes:
    networks: number of networks; their threshold sets are disjoint.
  """

  networks: int = 2
  mix = None
  extra_classes = 1

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    shape = (self.networks, len(data.given))
    return {}, {
      'threshold': jnp.zeros(shape, bool),
      'margin': jnp.zeros(shape, jnp.float32),
      'count': jnp.zeros(shape, jnp.int32),
      'last': jnp.full(shape, -1, jnp.int32),
    }

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    """Draws disjoint threshold sets when the phase begins; they stay the same in later epochs."""
    targets, extra = state.targets, state.extra
    counts = targets.counted(ctx.rows)  # [N]
    shuffled = place(jnp.where(counts, jax.random.uniform(ctx.key, counts.shape), jnp.inf))
    size = counts.sum() // (ctx.classes + 1)
    drawn = counts & (shuffled // jnp.maximum(size, 1) == jnp.arange(self.networks)[:, None]) & (size > 0)
    threshold = jnp.where(ctx.epoch == 0, drawn, extra['threshold'])
    return targets.replace(trust=jnp.ones_like(targets.trust)), extra | {'threshold': threshold}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b, extra = batch['train'], state.extra
    logits, _ = ctx.net(params, b['weak'])  # [M, B, C + 1]
    classes = logits.shape[-1] - 1
    wrong = row_memory.get(extra['threshold'], b['index'])  # [M, B]
    label = jnp.where(wrong, classes, b['label'])
    target = jnp.where(wrong[..., None], jnp.eye(classes + 1)[-1], jnp.pad(b['target'], ((0, 0), (0, 1))))
    per = losses.cross_entropy(logits, target)
    loss, out = supervised(per, b, logits[..., :classes])
    # One measurement per row and epoch; none in the first epoch, unless it is the only one.
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

  def probs(self, logits: Array) -> Array:
    return super().probs(logits[..., :-1])
