"""CORES² (Cheng et al. 2021, eqs. 3–5): a confidence regularizer, and a sieve that drops uncertain rows.

The loss is cross-entropy with a regularizer: ℓ − β Σ_c π_c ℓ_c, where ℓ_c is the cross-entropy with class c and π the
frequency of the given labels. After epoch `sieve`, a row takes part only if ℓ is at most the mean of its ℓ_c. π is
counted at the start of each epoch, on the rows that passed the sieve.

Settings of the official code (`phase1.py`): β is 0 for 10 epochs, then rises linearly to 2 over 30; the sieve begins at
epoch 31; 100 epochs of SGD without momentum, batch size 64, learning rate 0.1, 0.01 from epoch 50, divided by 1 + β.

Departures: the loss is divided by 1 + β instead of the learning rate, which is equivalent for SGD without momentum and
weight decay. As in the code, rows that an epoch did not visit count as passed. The second phase of the code
(consistency training on dropped rows) is not included.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
  Batches,
  Ctx,
  Out,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  supervised,
)
from noisyjax.estimate.rank import sizes
from noisyjax.strategies.shared import semi


class Strategy(Base):
  """One network that selects the rows of each batch by its own predictions.

  Attributes:
    beta: final weight of the confidence term.
    wait: number of epochs before the confidence term begins.
    rise: number of epochs over which its weight then rises to `beta`.
    sieve: last epoch (counted from 0) in which all rows take part.
  """

  beta: Traced = 2.0
  wait: Traced = 10.0
  rise: Traced = 30.0
  sieve: Traced = 30.0
  mix = None

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'prior': jnp.full(data.classes, 1 / data.classes, jnp.float32)}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    beta = self.beta * semi.ramp(ctx.epoch, self.rise - 1, self.wait)
    own = losses.cross_entropy(logits, b['target'])  # [1, B]
    # The 1e-8 of the official code bounds the reward for a probability of 0.
    every = -jnp.log(jax.nn.softmax(logits) + 1e-8)  # [1, B, C]
    per = (own - beta * (every * state.extra['prior']).sum(-1)) / (1 + beta)
    chosen = (ctx.epoch <= self.sieve) | (jax.lax.stop_gradient(own - every.mean(-1)) <= 0)
    return supervised(per, b, logits, chosen=chosen)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    passed = counts & state.dynamics.chosen[0] & (ctx.epoch > 0)  # when the phase begins, no row has been tested
    rows = jnp.where(passed.any(), passed, counts)
    prior = sizes(targets.label, rows, ctx.classes)
    return targets, {'prior': prior / jnp.maximum(prior.sum(), 1.0)}
