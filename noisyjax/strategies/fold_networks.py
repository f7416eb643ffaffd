"""Confident learning, first phase (Northcutt et al. 2021): K networks side by side, each trained on all folds but one.

When the phase begins, the rows are divided into K folds, stratified by label. Network m is trained on all rows outside
fold m, so that for every row there is a network that was not trained on it; `confident_learning` uses the prediction of
that network.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Ctx, PyTree, Scores, Strategy as Base, Targets, TrainData, TrainState


def draw_folds(key: Array, label: Array, rows: Array, twin: Array, count: int) -> Array:
  """Draws stratified folds.

  In each class, the sizes of two folds differ by at most 1, except that rows with the same image share a fold, because
  a network that was trained on one of them cannot judge the other.

  Args:
    key: random key.
    label: labels, int32 [N].
    rows: usable rows, bool [N].
    twin: first row with the same image as each row, int32 [N].
    count: number of folds K.

  Returns:
    The fold of each row, int32 [N]; -1 for rows that are not usable.
  """
  order = jnp.lexsort((jax.random.uniform(key, label.shape), label, ~rows))
  fold = jnp.zeros(label.shape, jnp.int32).at[order].set(jnp.arange(len(label)) % count)
  number = jnp.arange(len(label))
  # First usable row of each image.
  leader = jnp.full(label.shape, len(label)).at[twin].min(jnp.where(rows, number, len(label)))[twin]
  return jnp.where(rows, fold[leader], -1)  # rows that are not usable may have no leader


class Strategy(Base):
  """Cross-entropy; each network is trained on all folds but its own.

  Attributes:
    networks: number of networks and folds, K.
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
