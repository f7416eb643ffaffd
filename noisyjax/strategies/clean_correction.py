"""Clean-subset correction: a corrector learns the verified rows, relabels the rest, and a fresh network learns both.

The course project's Model II. Its own plan is two phases: `naive` on the trusted rows with their verified labels, then
this strategy, which on entering its phase asks the corrector once and starts a new network.
Departures from the project: verified labels are always kept; a row is relabeled only where the corrector's confidence
reaches `confidence` (else it is left out), and the corrected labels may be soft. The project forgets what label a row
was given; with `posterior` the corrector's p(true | image) is weighed by it: p(true | image, given) ∝ p(true | image)
T[true, given], T counted on the rows that have both labels. With `rounds` each network corrects for the next; with
`every_epoch` a network's average (Tarvainen & Valpola 2017) corrects for the network itself.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import (
  Array,
  Batch,
  Ctx,
  Phases,
  PyTree,
  Scores,
  Strategy as Base,
  Targets,
  Traced,
  TrainData,
  TrainState,
  predictions,
  surest,
)
from noisyjax.estimate import transition


class Strategy(Base):
  """Trains on verified and corrected labels.

  Attributes:
    confidence: least probability for a correction to count.
    soft: whether corrected rows carry the corrector's probabilities instead of its argmax.
    posterior: whether the given label of a row has a say in its correction.
    rounds: corrections, each with a new network.
    every_epoch: whether the labels are corrected anew at every epoch.
  """

  unit_interval = ('confidence',)
  confidence: Traced = 0.0
  soft: bool = False
  posterior: bool = False
  rounds: int = 1
  every_epoch: bool = False
  averaged = True
  needs = ('verified',)

  @property
  def refresh_on(self) -> str:
    return 'epoch' if self.every_epoch else 'phase'

  def phases(self, name: str, epochs: int) -> Phases:
    each = max(epochs // (self.rounds + 1), 1)
    last = max(epochs - self.rounds * each, 1)
    corrected = tuple((name, n, {'reset': 'all'}) for n in (*[each] * (self.rounds - 1), last))
    return ('naive', each, {'rows': 'trusted', 'labels': 'verified'}), *corrected

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'verified': jnp.array(data.verified), 'given': jnp.array(data.given)}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return predictions(logits) if self.soft or self.posterior else surest(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    verified, soft = state.extra['verified'], None  # [N]
    known = verified >= 0
    if 'probs' in scores:
      probs = scores['probs'].mean(0)  # [N, C]
      if self.posterior:
        given = state.extra['given']
        matrix = transition.from_pairs(verified, given, ctx.classes, ctx.rows & (state.targets.weight > 0))
        probs = transition.posterior(probs, given, matrix)
      guess, sure = probs.argmax(-1), probs.max(-1)
    else:
      guess, sure = scores['guess'][0], scores['sure'][0]
    label = jnp.where(known, verified, jnp.where(sure >= self.confidence, guess, -1)).astype(jnp.int32)
    if self.soft:
      corrected = jnp.where((sure >= self.confidence)[:, None], probs, 0.0)
      soft = jnp.where(known[:, None], jax.nn.one_hot(verified, ctx.classes), corrected)
    return state.targets.replace(label=label, soft=soft), state.extra
