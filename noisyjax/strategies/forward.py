"""Forward correction (Patrini et al. 2017, theorem 2): predict the given label through the transition matrix.

Loss −log (Tᵀp)_ỹ with T[true, given]. The plan is the paper's: naive training, from whose predictions T is estimated,
then a new network under the corrected loss. T may also be given, or counted on trusted rows: the plan is then one
phase. Settings of the official code (giorgiop/loss-correction): T of the rows at the 97th percentile (CIFAR-10) or of
the argmax (CIFAR-100); SGD 0.1, momentum 0.9, decay 1e-4 (CIFAR-100 1e-3), batch 128, 120 epochs.
Departures: `joint` and `pairs` are estimates that the paper has not. (Tᵀp)_ỹ is kept above 1e-30, where the code keeps
p above 1e-7, which stops the gradient of confident mistakes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from noisyjax import losses
from noisyjax.errors import UserError, check_choice
from noisyjax.estimate import confident, transition
from noisyjax.strategy import Strategy as Base
from noisyjax.strategy import supervised


class Strategy(Base):
  """One network that is corrected by T.

  Attributes:
    matrix: T as a tuple of rows, if it is known; else it is estimated.
    estimate: "anchors" (Patrini et al.), "joint" (confident learning, on in-sample predictions) or "pairs" (trusted
      rows that have both labels).
    percentile: of the anchors; 100 = argmax.
  """

  matrix: tuple = ()
  estimate: str = 'anchors'
  percentile: float = 97.0

  @property
  def asks(self):
    """Whether T comes from the networks of the phase before."""
    return not self.matrix and self.estimate != 'pairs'

  @property
  def refresh_on(self):
    return 'phase' if self.asks else 'epoch'

  @property
  def needs(self):
    return ('matrix',) if self.matrix else ('verified',) * (self.estimate == 'pairs')

  @property
  def score(self):
    return (lambda logits, features, batch: {'probs': jax.nn.softmax(logits)}) if self.asks else None

  def phases(self, name, epochs):
    if not self.asks:
      return super().phases(name, epochs)
    first = max(epochs // 2, 1)
    return ('naive', first, {}), (name, max(epochs - first, 1), {'reset': 'all'})

  def init(self, key, data):
    check_choice('estimate', self.estimate, ('anchors', 'joint', 'pairs'))
    if self.matrix:
      rows = [np.size(row) for row in self.matrix]
      square = rows == [data.classes] * data.classes
      if not square or np.min(self.matrix) < 0 or not np.allclose(np.sum(self.matrix, 1), 1, atol=1e-4):
        raise UserError(f'matrix: expected {data.classes} rows of as many probabilities that sum to 1 (rows = true).')
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
    return state.targets, state.extra | self.use(self._found(state, scores, ctx))

  def _found(self, state, scores, ctx):
    targets, keep = state.targets, ctx.rows & (state.targets.weight > 0)
    if self.matrix:
      return jnp.array(self.matrix, jnp.float32)
    if self.estimate == 'pairs':
      return transition.from_pairs(state.extra['verified'], targets.label, ctx.classes, keep)
    probs = scores['probs'].mean(0)  # [N, C]
    if self.estimate == 'joint':
      return transition.from_joint(confident.joint(probs, targets.label, keep))
    return transition.anchors(probs, keep, self.percentile)
