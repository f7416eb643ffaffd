"""CORES² (Cheng et al. 2021, eqs. 3–5): cross-entropy made confident, and a sieve of the rows that stay uncertain.

ℓ − β Σ_c π_c ℓ_c, with ℓ_c the cross-entropy against class c and π how often each class is given; after `sieve` epochs
a row enters only where ℓ is at most the mean of its ℓ_c. π is counted anew each epoch among the rows that passed.
Hyper-parameters of the official code (`phase1.py`): β 0 for 10 epochs, then linearly to 2 over 30; sieve from epoch 31;
100 epochs of plain SGD without momentum, batch 64, rate 0.1, 0.01 from epoch 50, divided by 1 + β.
Departures: that division is of the loss here: under plain SGD without decay the same. As in the code, rows that an
epoch did not visit count as passed. The code's second phase (consistency on the rows left out) is not part of it.
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
  """One network that sieves each batch by itself.

  Attributes:
    beta: weight of the confidence term at the end.
    wait: epochs before the confidence term begins.
    rise: epochs from then until its weight is `beta`.
    sieve: the last epoch (from 0) in which all rows enter.
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
    # The official floor bounds what is gained by pushing a class to zero.
    every = -jnp.log(jax.nn.softmax(logits) + 1e-8)  # [1, B, C]
    per = (own - beta * (every * state.extra['prior']).sum(-1)) / (1 + beta)
    chosen = (ctx.epoch <= self.sieve) | (jax.lax.stop_gradient(own - every.mean(-1)) <= 0)
    return supervised(per, b, logits, chosen=chosen)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    passed = counts & state.dynamics.chosen[0] & (ctx.epoch > 0)  # on entering nobody has been tried yet
    rows = jnp.where(passed.any(), passed, counts)
    prior = sizes(targets.label, rows, ctx.classes)
    return targets, {'prior': prior / jnp.maximum(prior.sum(), 1.0)}
