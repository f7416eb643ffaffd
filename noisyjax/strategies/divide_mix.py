"""DivideMix (Li et al. 2020, algorithm 1): a mixture of losses divides the rows, each network's for the other to learn.

Every epoch a two-component Gaussian mixture of one network's losses gives w = P(small component) a row. For the other
network, rows with w > τ are labeled, with target sharpen(w y + (1 − w) p) (co-refinement; p its own mean over two
views), the others unlabeled, with target sharpen(mean p of both networks and views) (co-guessing). MixMatch descends
CE + λ_u · squared error + Σ_c π_c log(π_c / p̄_c), π uniform and p̄ the mean prediction. Settings: see the recipe.
Departures: both networks move at once (the code: one epoch each), with the same order and crops of rows they share;
all views are guessed in one batch; the mixture starts at the best split in two; the vote is of probabilities; an epoch
has the first split's steps; a row without a label is always unlabeled; a mean of losses is scaled to [0, 1] again.
"""

import jax
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
  Views,
  row_losses,
)
from noisyjax.estimate import mixture
from noisyjax.strategies.shared import semi


class Strategy(Base):
  """Two networks that divide the rows for each other.

  Attributes:
    warmup: epochs of plain training before (a third at most).
    threshold: τ, the least probability of a clean row.
    history: epochs whose losses are averaged.
    temperature: T of the sharpening.
    alpha: of mixup's Beta(α, α).
    lambda_u: weight of the guesses' loss.
    ramp: epochs over which it rises to that.
  """

  unit_interval = ('threshold',)
  warmup: int = 10
  threshold: Traced = 0.5
  history: int = 1
  temperature: Traced = 0.5
  alpha: Traced = 4.0
  lambda_u: Traced = 25.0
  ramp: Traced = 16.0
  networks = 2
  streams = {'labeled': Views('weak', 'weak'), 'unlabeled': Views('weak', 'weak', labeled=False)}
  mix = None  # it mixes itself

  def phases(self, name: str, epochs: int) -> Phases:
    first = max(min(self.warmup, epochs // 3), 1)
    start = ('naive', first, {'strategy.naive.networks': 2, 'schedule.name': 'constant'})
    return start, (name, max(epochs - first, 1), {})

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'losses': jnp.zeros((2, self.history, len(data.given)))}

  def members(self, state: TrainState) -> dict[str, Array]:
    clean = state.targets.trust > self.threshold  # [2, N]
    return {'labeled': clean, 'unlabeled': ~clean}

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return row_losses(logits, batch)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    targets = state.targets
    counts = targets.counted(ctx.rows)  # [N]
    each = lambda f, values: jax.vmap(f, (0, None))(values, counts)  # [2, N] → [2, N]
    kept = state.extra['losses'].at[:, ctx.epoch % self.history].set(each(mixture.unit, scores['loss']))
    clean = each(mixture.gaussian, kept.sum(1) / jnp.minimum(ctx.epoch + 1, self.history))
    return targets.replace(trust=jnp.where(counts, clean, 0.0)[::-1]), {'losses': kept}  # for the other to learn from

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    x, u = batch['labeled'], batch['unlabeled']
    known, unknown = (jnp.concatenate([s['weak'], s['weak1']], 1) for s in (x, u))  # [2, 2B, H, W, C]
    weight, weight_u = (jnp.tile(s['weight'], 2) for s in (x, u))
    known, unknown = semi.filled(known, weight, unknown), semi.filled(unknown, weight_u, known)
    logits = ctx.guess(jnp.concatenate([known, unknown], 1))[0].reshape(2, 4, -1, ctx.classes)  # [2, views, B, C]
    own, own_u = (probs.mean(1) for probs in jnp.split(jax.nn.softmax(logits), 2, 1))  # [2, B, C]
    peer = ctx.look(unknown[::-1])[0][::-1].reshape(2, 2, -1, ctx.classes)  # each network on the other's rows
    peer = jax.nn.softmax(peer).mean(1)
    targets = own + x['trust'][..., None] * (x['target'] - own), (own_u + peer) / 2
    refined, guessed = (jnp.tile(semi.sharpen(p, self.temperature), (1, 2, 1)) for p in targets)  # of both views
    mixed, per, gap = semi.mixmatch(ctx, params, self.alpha, (known, refined, weight), (unknown, guessed, weight_u))
    guesses = losses.weighted_mean(gap, weight_u)  # [2]
    penalty = semi.prior_penalty(mixed, jnp.concatenate([weight, weight_u], 1))
    lambda_u = self.lambda_u * semi.ramp(ctx.progress * ctx.epochs, self.ramp)
    loss = losses.weighted_mean(per, weight) + lambda_u * guesses + penalty
    metrics = {'loss': jnp.split(per, 2, 1)[0], 'guesses': guesses[:, None], 'penalty': penalty[:, None]}
    return loss.sum(), Out(logits=logits[:, 0], metrics=metrics)
