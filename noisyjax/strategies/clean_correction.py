"""Clean-subset correction: a corrector learns the verified rows, relabels the rest, and a fresh network learns both.

This is Model II of the course project. The plan has two phases: `naive` on the trusted rows with their verified labels,
then this strategy, which evaluates the corrector once, when its phase begins, and trains a new network.

The fields do not switch between two methods. All of them describe how the same step (predict, correct, train) is done:
which predictions count (`confidence`), their form (`soft`), whether Bayes' rule includes the given label (`posterior`),
and how often the step is repeated, with a new network (`rounds`) or with the same one (`every_epoch`). They can be
combined freely.

Departures from the project: verified labels are always kept. A row is relabeled only if the confidence of the corrector
is at least `confidence`; otherwise it is left out. The corrected labels may be soft. The project ignores the given
label of a relabeled row; with `posterior`, p(true | image, given) ∝ p(true | image) T[true, given], where T is counted
on the rows with both labels. With `rounds`, each network is the corrector of the next. With `every_epoch`, the averaged
weights of a network (Tarvainen & Valpola 2017) correct the labels of that network.
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
  """A network, trained on verified and corrected labels.

  Attributes:
    confidence: minimum probability of a correction; rows below it are left out.
    soft: whether the targets of corrected rows are the corrector's probabilities instead of its argmax.
    posterior: whether the correction of a row takes its given label into account, by Bayes' rule.
    rounds: number of corrections, each followed by the training of a new network.
    every_epoch: whether the labels are corrected again at the start of every epoch.
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
