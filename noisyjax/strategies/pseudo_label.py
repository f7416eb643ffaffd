"""Pseudo-labels in rounds (Lee 2013; Cascante-Bonilla et al. 2021): confident predictions label the next round's rows.

The first network is trained on the labeled rows. Each round then predicts the unlabeled rows with the network of the
phase before, without augmentation, labels those whose confidence exceeds `threshold` (at most `cap` per class, the most
confident first), and trains a new network on both. The thresholds of the photo project were 0.95, and 0.99 in later
rounds.

Departures from that project: each round assigns all pseudo-labels again, so that rows below the threshold lose theirs.
A network never continues from the one that labeled its rows (`reset='all'`). Nobody checks the pseudo-labels. Known
labels are always those of the data set, not pseudo-labels of an earlier round.
"""

import jax.numpy as jnp

from noisyjax.engine.strategy import Array, Batch, Ctx, Phases, PyTree, Scores, Targets, Traced, TrainState, surest
from noisyjax.strategies.shared import semi


class Strategy(semi.SemiSupervised):
  """A network, trained on known labels and on confident predictions of the network before it.

  Attributes:
    threshold: confidence that a pseudo-label must exceed in the first round.
    strict: confidence that a pseudo-label must exceed in later rounds.
    rounds: number of rounds.
    cap: maximum number of pseudo-labels per class; 0 means no limit.
  """

  unit_interval = ('threshold', 'strict')
  threshold: Traced = 0.95
  strict: Traced = 0.99
  rounds: int = 2
  cap: int = 0
  refresh_on = 'phase'

  def phases(self, name: str, epochs: int) -> Phases:
    rounds = max(min(self.rounds, epochs - 1), 1)
    each = max(epochs // (rounds + 1), 1)
    last = max(epochs - each * rounds, 1)
    known = {'rows': 'trusted', 'labels': 'verified'} if self.source == 'verified' else {}
    strict = {f'strategy.{name}.threshold': round(float(self.strict), 6)}
    later = tuple(
      (name, last if i == rounds - 1 else each, {'reset': 'all'} | (strict if i else {})) for i in range(rounds)
    )
    return (('naive', each, known), *later)

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return surest(logits)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    sure, guess = scores['sure'][0], scores['guess'][0]  # [N]
    known, targets = state.extra['known'], state.targets
    added = (known < 0) & (sure > self.threshold) & (targets.weight > 0) & ctx.rows
    if self.cap:
      added = semi.smallest_of_each_class(-sure, guess, added, self.cap, ctx.classes)
    label = jnp.where(known >= 0, known, jnp.where(added, guess, -1))
    trust = jnp.where(known >= 0, 1.0, jnp.where(added, sure, 0.0))[None]
    return semi.relabeled(targets, label).replace(trust=trust), state.extra
