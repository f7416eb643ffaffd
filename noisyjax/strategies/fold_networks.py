"""Confident learning's first phase (Northcutt et al. 2021): K networks side by side, each trained without one fold.

The rows are divided into K folds, stratified by their labels, as the phase begins; the m-th network learns all rows but
those of fold m, so that every row has a network that never saw it. `confident_learning` asks that one.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Ctx, PyTree, Scores, Strategy as Base, Targets, TrainData, TrainState


def draw_folds(key: Array, label: Array, rows: Array, twin: Array, count: int) -> Array:
  """Returns each row's fold, int32 [N]: as many of a class's rows in each, or one more; -1 for rows that do not count.

  Args:
    key: of the draw.
    label: int32 [N].
    rows: bool [N], those that count.
    twin: int32 [N], the first row of the same image; such rows share a fold: a network that has seen one cannot judge
      the other.
    count: K.
  """
  order = jnp.lexsort((jax.random.uniform(key, label.shape), label, ~rows))
  fold = jnp.zeros(label.shape, jnp.int32).at[order].set(jnp.arange(len(label)) % count)
  number = jnp.arange(len(label))
  leader = jnp.full(label.shape, len(label)).at[twin].min(jnp.where(rows, number, len(label)))[twin]  # of the image
  return jnp.where(rows, fold[leader], -1)  # where rows do not count, there may be no leader


class Strategy(Base):
  """Cross-entropy on all folds but one's own.

  Attributes:
    networks: K, the folds.
  """

  networks: int = 4

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    fold = jnp.full(len(data.given), -1, jnp.int32)
    return {}, {'fold': fold, 'twin': jnp.asarray(data.twins(), jnp.int32)}

  def members(self, state: TrainState) -> dict[str, Array]:
    fold = state.extra['fold']
    return {'train': (fold >= 0) & (fold != jnp.arange(self.networks)[:, None])}  # [K, N]

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    rows, extra = state.targets.counted(ctx.rows), state.extra
    fold = draw_folds(ctx.key, state.targets.label, rows, extra['twin'], self.networks)
    return state.targets, extra | {'fold': jnp.where(ctx.epoch == 0, fold, extra['fold'])}
