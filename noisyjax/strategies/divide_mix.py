"""DivideMix (Li et al. 2020, algorithm 1): a mixture of losses divides the rows, each network's for the other to learn.

Every epoch a two-component Gaussian mixture of one network's losses gives w = P(small component) a row. For the other
network, rows with w > τ are labeled, with target sharpen(w y + (1 − w) p) (co-refinement; p its own mean over two
views), and the rest is unlabeled, with target sharpen(mean p of both networks and views) (co-guessing). MixMatch then
descends CE + λ_u · squared error + Σ_c π_c log(π_c / p̄_c), π uniform and p̄ the mean prediction.
Official hyper-parameters on CIFAR-10: warm-up 10 epochs of CE (30 on CIFAR-100; for asymmetric noise with
`strategy.naive.penalty` 1), τ 0.5 (0.6 at 90 % noise), T 0.5, α 4; λ_u 0, 25, 25, 50 at 20, 50, 80, 90 % symmetric
noise, 0 at 40 % asymmetric noise (CIFAR-100: 25, then 150), rising over 16 epochs; batch 64 (warm-up 128), SGD lr 0.02,
0.002 from epoch 150 of 300, decay 5e-4. At 90 % noise the mixture sees the mean loss of 5 epochs (`history`).
Departures: both networks move at once (the code trains the first for an epoch, then the second); refinement and
guesses are looked up with running statistics (the code: the trained network in training mode); the mixture's start is
the best split in two instead of a random one; the vote is the mean of probabilities; an epoch's steps are fixed by the
first split; a row without a label is always unlabeled. An empty split costs nothing.
"""

import jax
import jax.numpy as jnp

from noisyjax import losses, semi
from noisyjax.estimate import mixture
from noisyjax.strategy import Out, Views
from noisyjax.strategy import Strategy as Base


class Strategy(Base):
  """Two networks that divide the rows for each other.

  Attributes:
    warmup: epochs of plain training before (a third of the run at most).
    threshold: τ, the least probability of a clean row. history: epochs whose losses are averaged.
    temperature: T of the sharpening. alpha: of mixup's Beta(α, α).
    lambda_u: weight of the guesses' loss. ramp: epochs over which it rises to that.
  """

  warmup: int = 10
  threshold: float = 0.5
  history: int = 1
  temperature: float = 0.5
  alpha: float = 4.0
  lambda_u: float = 25.0
  ramp: float = 16.0
  networks = 2
  streams = {'labeled': Views('weak', 'weak'), 'unlabeled': Views('weak', 'weak', labeled=False)}
  mix = None  # it mixes itself

  def phases(self, name, epochs):
    first = max(min(self.warmup, epochs // 3), 1)
    return ('naive', first, {'strategy.naive.networks': 2}), (name, max(epochs - first, 1), {})

  def init(self, key, data):
    return {}, {'losses': jnp.zeros((2, self.history, len(data.given)))}

  def members(self, state):
    clean = state.targets.trust > self.threshold  # [2, N]
    return {'labeled': clean, 'unlabeled': ~clean}

  def score(self, logits, features, batch):
    return {'loss': losses.cross_entropy(logits, batch['target'])}  # [2, B]

  def refresh(self, state, scores, ctx):
    targets = state.targets
    counts = targets.labeled & (targets.weight > 0) & ctx.rows  # [N]
    now = jax.vmap(mixture.unit, (0, None))(scores['loss'], counts)  # [2, N]
    kept = state.extra['losses'].at[:, ctx.epoch % self.history].set(now)
    mean = kept.sum(1) / jnp.minimum(ctx.epoch + 1, self.history)
    clean = jax.vmap(mixture.gaussian, (0, None))(mean, counts)
    # What one network's losses say is for the other to learn from.
    return targets.replace(trust=jnp.where(counts, clean, 0.0)[::-1]), {'losses': kept}

  def loss(self, params, state, batch, ctx):
    x, u = batch['labeled'], batch['unlabeled']
    known, unknown = (jnp.concatenate([s['weak'], s['weak1']], 1) for s in (x, u))  # [2, 2B, H, W, C]
    logits, _ = ctx.look(jnp.concatenate([known, unknown], 1))  # [2, 4B, C]
    peer, _ = ctx.look(unknown[::-1])  # each network on the other's rows
    views = lambda probs: jnp.stack(jnp.split(probs, 2, 1)).mean(0)  # [2, 2B, C] → [2, B, C]
    own, own_u = (views(p) for p in jnp.split(jax.nn.softmax(logits), 2, 1))
    trust = x['trust'][..., None]
    refined = semi.sharpen(trust * x['target'] + (1 - trust) * own, self.temperature)
    guessed = semi.sharpen((own_u + views(jax.nn.softmax(peer))[::-1]) / 2, self.temperature)
    twice = lambda a: jnp.concatenate([a, a], 1)
    weight, weight_u = twice(x['weight']), twice(u['weight'])
    labeled, unlabeled = (known, twice(refined), weight), (unknown, twice(guessed), weight_u)
    mixed, per, gap = semi.mixmatch(ctx, params, self.alpha, labeled, unlabeled)
    guesses = losses.weighted_mean(gap, weight_u)  # [2]
    penalty = semi.prior_penalty(mixed, jnp.concatenate([weight, weight_u], 1))
    lambda_u = self.lambda_u * semi.ramp(ctx.progress * ctx.epochs, self.ramp)
    loss = losses.weighted_mean(per, weight) + lambda_u * guesses + penalty
    size = x['index'].shape[-1]
    metrics = {'loss': per[:, :size], 'guesses': guesses[:, None], 'penalty': penalty[:, None]}
    return loss.sum(), Out(logits=logits[:, :size], metrics=metrics)
