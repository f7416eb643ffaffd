"""Forward correction (Patrini et al. 2017, theorem 2): predict the given label through the transition matrix.

Loss −log (Tᵀp)_ỹ with T[true, given]. The plan is the paper's: naive training, from whose predictions T is estimated,
then a new network under the corrected loss. T may also be given, or counted on trusted rows: the plan is then one
phase. Official (giorgiop/loss-correction): T of the rows at the 97th percentile, or (CIFAR-100) of the argmax, as the
naive phase's best network by validation sees them: later ones know the mistakes by heart, and their T is the identity.
Departures: that best is by accuracy (there: by loss); the estimates `joint` and `pairs`; (Tᵀp)_ỹ is kept above 1e-30,
where the code keeps p above 1e-7, which stops the gradient of confident mistakes.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Strategy as Base, halves, predictions, supervised
from noisyjax.estimate import confident, transition
from noisyjax.system.errors import check_choice


class Strategy(Base):
  """One network that is corrected by T.

  Attributes:
    matrix: T as a tuple of rows, if it is known; else it is estimated, from
    estimate: "anchors" (Patrini et al.), the "joint" of in-sample predictions, or "pairs" (rows with both labels).
    percentile: of the anchors; 100 = argmax.
  """

  matrix: tuple = ()
  estimate: str = 'anchors'
  percentile: float = 97.0
  asks_best = True
  refresh_on = property(lambda self: 'phase' if self.asks else 'epoch')
  score = property(lambda self: predictions if self.asks else None)

  @property
  def asks(self):
    """Whether T comes from the networks of the phase before."""
    return not self.matrix and self.estimate != 'pairs'

  @property
  def needs(self):
    return ('matrix',) if self.matrix else ('verified',) * (self.estimate == 'pairs')

  def phases(self, name, epochs):
    if not self.asks:
      return super().phases(name, epochs)
    first, rest = halves(epochs)
    return ('naive', first, {}), (name, rest, {'reset': 'all'})

  def init(self, key, data):
    name = type(self).__module__.rsplit('.', 1)[-1]  # forward, or who inherits from it
    check_choice(f'strategy.{name}.estimate', self.estimate, ('anchors', 'joint', 'pairs'))
    transition.check(f'strategy.{name}.matrix', self.matrix, data.classes)
    return {}, {'verified': jnp.array(data.verified)} | self.use(jnp.eye(data.classes))

  def use(self, matrix):
    """Returns what the loss wants of T, as entries of `extra`."""
    return {'matrix': matrix}

  def corrected(self, logits, target, extra):
    """Returns the loss per example, [M, B]."""
    return losses.forward_corrected(logits, target, extra['matrix'])

  def loss(self, params, state, batch, ctx):
    b = batch['train']
    logits, _ = ctx.net(params, b['weak'])  # [1, B, C]
    return supervised(self.corrected(logits, b['target'], state.extra), b, logits)

  def refresh(self, state, scores, ctx):
    given, keep = state.targets.label, ctx.rows & (state.targets.weight > 0)
    if self.matrix:
      matrix = jnp.array(self.matrix, jnp.float32)
    elif self.estimate == 'pairs':
      matrix = transition.from_pairs(state.extra['verified'], given, ctx.classes, keep)
    elif self.estimate == 'joint':
      matrix = transition.from_joint(confident.joint(scores['probs'].mean(0), given, keep))
    else:
      matrix = transition.anchors(scores['probs'].mean(0), keep, self.percentile)
    return state.targets, state.extra | self.use(matrix)
