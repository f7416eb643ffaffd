"""Forward correction (Patrini et al. 2017, theorem 2): predicts the given label through the transition matrix.

The loss is −log (Tᵀp)_ỹ with T[true, given]. The plan is that of the paper: naive training, whose predictions give an
estimate of T, then a new network, trained with the corrected loss. If T is given or counted on trusted rows, the plan
is a single phase. Whether T is known or estimated is an option of the paper, too; the loss is the same.

Official settings (giorgiop/loss-correction): T is taken at the 97th percentile or (CIFAR-100) at the argmax, from the
best network of the naive phase by validation. Later networks have memorized the wrong labels, and their T approaches
the identity.

Departures: the best network is selected by accuracy (there: by loss). The estimates `joint` and `pairs` are additions.
As in the code (loss.py, lines 23-29, revision 15a79de), p is clipped to [1e-7, 1 − 1e-7], which stops the gradient of
very confident mistakes.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import (
  Array,
  Batch,
  Batches,
  Ctx,
  Out,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  halves,
  predictions,
  supervised,
)
from noisyjax.estimate import confident, transition
from noisyjax.system.errors import check_choice


def anchors(method: 'Strategy', state: TrainState, scores: Scores, ctx: Ctx) -> Array:
  """Returns T, estimated from the predictions on anchor rows (Patrini et al. 2017, eqs. 12–13)."""
  return transition.anchors(scores['probs'].mean(0), ctx.rows & (state.targets.weight > 0), method.percentile)


def joint(method: 'Strategy', state: TrainState, scores: Scores, ctx: Ctx) -> Array:
  """Returns T, estimated from the confident joint of the predictions."""
  keep = ctx.rows & (state.targets.weight > 0)
  return transition.from_joint(confident.joint(scores['probs'].mean(0), state.targets.label, keep))


def pairs(method: 'Strategy', state: TrainState, scores: Scores, ctx: Ctx) -> Array:
  """Returns T, counted on the rows with verified and given labels."""
  keep = ctx.rows & (state.targets.weight > 0)
  return transition.from_pairs(state.extra['verified'], state.targets.label, ctx.classes, keep)


ESTIMATES = {'anchors': anchors, 'joint': joint, 'pairs': pairs}  # (strategy, state, scores, ctx) → T [C, C]


class Strategy(Base):
  """One network, trained with the loss that T corrects.

  Attributes:
    matrix: T as a tuple of rows, if it is known; () means that it is estimated.
    estimate: source of the estimate, "anchors" (Patrini et al.), "joint" (confident joint of in-sample predictions) or
      "pairs" (rows with both labels).
    percentile: percentile of p_c at which the anchor of class c is taken; 100 is the argmax.
  """

  matrix: tuple[tuple[float, ...], ...] = ()
  estimate: str = 'anchors'
  percentile: Traced = 97.0
  asks_best = True

  @property
  def scores(self) -> bool:
    return not self.matrix and self.estimate != 'pairs'  # T is estimated with the networks of the phase before

  @property
  def refresh_on(self) -> str:
    return 'phase' if self.scores else 'epoch'

  @property
  def needs(self) -> tuple[str, ...]:
    return ('matrix',) if self.matrix else ('verified',) * (self.estimate == 'pairs')

  def phases(self, name: str, epochs: int) -> Phases:
    if not self.scores:
      return super().phases(name, epochs)
    first, rest = halves(epochs)
    return ('naive', first, {}), (name, rest, {'reset': 'all'})

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    name = type(self).__module__.rsplit('.', 1)[-1]  # forward, or a strategy that inherits from it
    check_choice(f'strategy.{name}.estimate', self.estimate, ESTIMATES)
    transition.check(f'strategy.{name}.matrix', self.matrix, data.classes)
    return {}, {'verified': jnp.array(data.verified)} | self.use(jnp.eye(data.classes))

  def use(self, matrix: Array) -> dict[str, Array]:
    """Returns the entries of `extra` that the loss computes from T [C, C]."""
    return {'matrix': matrix}

  def corrected(self, logits: Array, target: Array, extra: PyTree) -> Array:
    """Returns the loss per example, [M, B].

    Args:
      logits: [M, B, C].
      target: one-hot labels or label distributions, [B, C].
      extra: memory of the strategy, with the entries of `use`.
    """
    return losses.forward_corrected(logits, target, extra['matrix'], edge=1e-7)

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(self.corrected(logits, b['target'], state.extra), b, logits)

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return predictions(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    matrix = jnp.array(self.matrix, jnp.float32) if self.matrix else ESTIMATES[self.estimate](self, state, scores, ctx)
    return state.targets, state.extra | self.use(matrix)
