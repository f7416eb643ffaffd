"""Fine-tuning (Shu et al. 2019): trains on the given labels, then on the trusted rows with a lower learning rate.

This is the baseline that the Meta-Weight-Net paper (Shu et al. 2019, section 4) calls Fine-tuning: cross-entropy with
verified labels on the trusted rows, starting from naively trained networks. The paper gives no settings. Here,
fine-tuning is the last tenth of the epochs.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import (
  Array,
  Ctx,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
)


class Strategy(Base):
  """Cross-entropy with verified labels; rows without one are left out.

  Attributes:
    lr: learning rate of the fine-tuning phase.
  """

  lr: Traced = 0.001
  refresh_on = 'phase'
  needs = ('verified',)

  def phases(self, name: str, epochs: int) -> Phases:
    last = max(epochs // 10, 1)
    return ('naive', max(epochs - last, 1), {}), (name, last, {'optim.lr': float(f'{self.lr:g}')})

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'verified': jnp.array(data.verified)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    return state.targets.replace(label=state.extra['verified'], soft=None), state.extra
