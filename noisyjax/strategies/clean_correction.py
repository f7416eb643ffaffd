"""Clean-subset correction: a corrector learns the verified rows, relabels the rest, and a fresh network learns both.

The course project's Model II. Its own plan is two phases: `naive` on the trusted rows with their verified labels, then
this strategy, which on entering its phase asks the corrector once and starts a new network.
Departures from the project: verified labels are always kept; a row is relabeled only where the corrector's confidence
reaches `confidence` (else it is left out), and the corrected labels may be soft.
"""

import jax
import jax.numpy as jnp

from noisyjax.strategy import Strategy as Base


class Strategy(Base):
  """Trains on verified and corrected labels.

  Attributes:
    confidence: least probability for a correction to count.
    soft: whether corrected rows carry the corrector's probabilities instead of its argmax.
  """

  confidence: float = 0.0
  soft: bool = False
  refresh_on = 'phase'
  needs = ('verified',)

  def phases(self, name, epochs):
    first = max(epochs // 2, 1)
    return (
      ('naive', first, {'rows': 'trusted', 'labels': 'verified'}),
      (name, max(epochs - first, 1), {'reset': 'all'}),
    )

  def init(self, key, data):
    return {}, {'verified': jnp.asarray(data.verified)}

  def score(self, logits, features, batch):
    return {'probs': jax.nn.softmax(logits)}  # [1, B, C]

  def refresh(self, state, scores, ctx):
    probs = scores['probs'][0]  # [N, C]
    verified = state.extra['verified']  # [N]
    known = verified >= 0
    sure = probs.max(-1) >= self.confidence
    label = jnp.where(known, verified, jnp.where(sure, probs.argmax(-1), -1)).astype(jnp.int32)
    soft = None
    if self.soft:
      corrected = jnp.where(sure[:, None], probs, 0.0)
      soft = jnp.where(known[:, None], jax.nn.one_hot(verified, probs.shape[-1]), corrected)
    return state.targets.replace(label=label, soft=soft), state.extra
