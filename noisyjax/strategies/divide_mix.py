"""DivideMix (Li et al. 2020, algorithm 1): each network's losses split the rows into clean and noisy for the other.

At the start of each epoch, a two-component Gaussian mixture of one network's losses gives each row w = P(component with
the smaller mean). For the other network, rows with w > τ are labeled and the others unlabeled. The target of a labeled
row is sharpen(w y + (1 − w) p), with p the network's own mean over two views (co-refinement). The target of an
unlabeled row is sharpen(mean of p over both networks and views) (co-guessing). The loss is MixMatch's, CE + λ_u ·
squared error, plus Σ_c π_c log(π_c / p̄_c), where π is uniform and p̄ is the mean prediction. The recipe has the
official settings.

As in the code (LiJunnan1992/DivideMix, Train_cifar.py, lines 41-208, revision d9d3058), each network has its own order
and crops, and predicts one view after another, unlabeled ones first, in training mode: with the pass of the mixed rows,
five passes move the running statistics.

Departures: both networks are updated in the same step (the code trains one for an epoch, then the other). The mixture
is initialized with the best split in two. The networks vote by probabilities (the code: by the sum of logits). An epoch
keeps the number of steps of the first split. Rows without a label are always unlabeled. With `history`, the mean of the
losses is scaled to [0, 1] again.
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
  """Two networks, each of which divides the rows for the other.

  Attributes:
    warmup: epochs of cross-entropy on all rows before this phase, at most a third of the run.
    threshold: τ, the probability above which a row counts as clean.
    history: number of epochs over which the losses of a row are averaged.
    temperature: temperature T of the sharpening.
    alpha: parameter of mixup's Beta(α, α).
    lambda_u: final weight of the loss of unlabeled rows.
    ramp: epochs over which that weight rises from 0.
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
  mix = None  # the loss applies mixup itself

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
    trust = jnp.where(counts, clean, 0.0)[::-1]  # reversed: each network is trained on the split of the other
    return targets.replace(trust=trust), {'losses': kept}

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    x, u = batch['labeled'], batch['unlabeled']
    weight, weight_u = (jnp.tile(s['weight'], 2) for s in (x, u))
    views = lambda rows, others: [semi.filled(rows[v], rows['weight'], others[v]) for v in ('weak', 'weak1')]
    known, unknown = views(x, u), views(u, x)  # two views each, [2, B, H, W, C]
    seen = [ctx.guess(view)[0] for view in unknown + known]  # four times [2, B, C], in the order of the official code
    own_u, own = (sum(map(jax.nn.softmax, pair)) / 2 for pair in (seen[:2], seen[2:]))
    known, unknown = (jnp.concatenate(pair, 1) for pair in (known, unknown))  # [2, 2B, H, W, C]
    peer = ctx.look(unknown[::-1])[0][::-1].reshape(2, 2, -1, ctx.classes)  # on the other network's rows
    peer = jax.nn.softmax(peer).mean(1)
    targets = own + x['trust'][..., None] * (x['target'] - own), (own_u + peer) / 2
    refined, guessed = (jnp.tile(semi.sharpen(p, self.temperature), (1, 2, 1)) for p in targets)  # as of both views
    mixed, per, gap = semi.mixmatch(ctx, params, self.alpha, (known, refined, weight), (unknown, guessed, weight_u))
    guesses = losses.weighted_mean(gap, weight_u)  # [2]
    penalty = semi.prior_penalty(mixed, jnp.concatenate([weight, weight_u], 1))
    lambda_u = self.lambda_u * semi.ramp(ctx.progress * ctx.epochs, self.ramp)
    loss = losses.weighted_mean(per, weight) + lambda_u * guesses + penalty
    metrics = {'loss': jnp.split(per, 2, 1)[0], 'guesses': guesses[:, None], 'penalty': penalty[:, None]}
    return loss.sum(), Out(logits=seen[2], metrics=metrics)
