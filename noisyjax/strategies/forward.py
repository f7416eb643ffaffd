"""Forward correction (Patrini et al. 2017, theorem 2): predict the given label through the transition matrix.

Loss −log (Tᵀp)_ỹ with T[true, given]. The plan is the paper's: naive training, from whose predictions T is estimated,
then a new network under the corrected loss. T may also be given, or counted on trusted rows: the plan is then one
phase. Official (giorgiop/loss-correction): T of the rows at the 97th percentile, or (CIFAR-100) of the argmax, as the
naive phase's best network by validation sees them: later ones know the mistakes by heart, and their T is the identity.
That T is known or estimated is the paper's own switch; the loss is one.
Departures: that best is by accuracy (there: by loss); the estimates `joint` and `pairs`; (Tᵀp)_ỹ is kept above 1e-30,
where the code keeps p above 1e-7, which stops the gradient of confident mistakes.
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
  return transition.anchors(scores['probs'].mean(0), ctx.rows & (state.targets.weight > 0), method.percentile)


def joint(method: 'Strategy', state: TrainState, scores: Scores, ctx: Ctx) -> Array:
  keep = ctx.rows & (state.targets.weight > 0)
  return transition.from_joint(confident.joint(scores['probs'].mean(0), state.targets.label, keep))


def pairs(method: 'Strategy', state: TrainState, scores: Scores, ctx: Ctx) -> Array:
  keep = ctx.rows & (state.targets.weight > 0)
  return transition.from_pairs(state.extra['verified'], state.targets.label, ctx.classes, keep)


ESTIMATES = {'anchors': anchors, 'joint': joint, 'pairs': pairs}  # (strategy, state, scores, ctx) → T [C, C]


class Strategy(Base):
  """One network that is corrected by T.

  Attributes:
    matrix: T as a tuple of rows, if it is known; (): it is estimated.
    estimate: from what: "anchors" (Patrini et al.), the "joint" of in-sample predictions, or "pairs" (rows with both
      labels).
    percentile: of the anchors; 100 = argmax.
  """

  matrix: tuple[tuple[float, ...], ...] = ()
  estimate: str = 'anchors'
  percentile: Traced = 97.0
  asks_best = True

  @property
  def scores(self) -> bool:
    return not self.matrix and self.estimate != 'pairs'  # T then comes from the networks of the phase before

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
    name = type(self).__module__.rsplit('.', 1)[-1]  # forward, or who inherits from it
    check_choice(f'strategy.{name}.estimate', self.estimate, ESTIMATES)
    transition.check(f'strategy.{name}.matrix', self.matrix, data.classes)
    return {}, {'verified': jnp.array(data.verified)} | self.use(jnp.eye(data.classes))

  def use(self, matrix: Array) -> dict[str, Array]:
    """Returns what the loss wants of T, as entries of `extra`."""
    return {'matrix': matrix}

  def corrected(self, logits: Array, target: Array, extra: PyTree) -> Array:
    """Returns the loss per example, [M, B]."""
    return losses.forward_corrected(logits, target, extra['matrix'])

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(self.corrected(logits, b['target'], state.extra), b, logits)

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return predictions(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    matrix = jnp.array(self.matrix, jnp.float32) if self.matrix else ESTIMATES[self.estimate](self, state, scores, ctx)
    return state.targets, state.extra | self.use(matrix)
