"""Fine-tuning (Shu et al. 2019): train on the given labels, then a while, at a lower rate, on the trusted rows.

The baseline that Meta-Weight-Net (Shu et al. 2019, section 4) calls Fine-tuning: loss CE(verified) over trusted rows,
from the networks of naive training. The paper gives no settings; here it is the last tenth of the epochs.
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
  """Cross-entropy on verified labels; rows without one are left out.

  Attributes:
    lr: learning rate of the plan's second phase.
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
