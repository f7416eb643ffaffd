"""ProMix (Xiao et al. 2023, IJCAI): clean rows are chosen, matched, then expanded; a second head guesses the rest.

Each network m, by itself: chosen S = per class the ⌈ρ N/C⌉ smallest losses (once an epoch; all rows of a smaller
class), plus rows with p_y > τ (in the batch). In the last part of the phase also rows on whose prediction both networks
agree, both above τ, while S fills less than `fill` of the batch; they carry m's unbiased prediction, the argmax of
z − b log π. The others are U. With ℓ_π(z, y) = CE(z + a log π, y) and a ramp w from 0 to 1, for the head h and, alike,
for a second head h' on the same features: mean_S ℓ_π(weak) + w (mean_S ℓ_π(strong) + mean_S ℓ_π(mixup of S)); and h'
alone learns from U, by u (mean_U ℓ_π'(weak, q) + w mean_U ℓ_π'(strong, q)), q = sharpen(softmax(z − b log π'), T) of h,
u = 0.1 · a ramp of twice the length, and 0 from its end on, as in the official code. π and π' follow the mean
prediction of S and of U: π ← 0.9999 π + 0.0001 p̄.

Official (run.sh): ResNet-18, SGD lr 0.05 wd 5e-4 batch 256, 600 epochs cosine to 1/1000, 10 epochs of warm-up
(CIFAR-100: 30), ramp 50 epochs from the run's start; ρ 0.5 (symmetric 20 %: 0.7), τ 0.99 (0.95), a = b = 0.8 (0.5),
T 0.5, Beta(4, 4), fill 0.9, expansion in the last 250 epochs; RandAugment is the strong view. ρ follows the noise.
Departures: FMix is left out, and both heads see one mixup (official: six passes a network, here three); ρ is constant,
as in every official run; h' follows the networks' learning rate but not their weight decay; networks vote by mean
probability; rows without a label take no part; an empty S or U leaves π as it is; the warm-up's penalty under
asymmetric noise is naive's, of probabilities (official: of logits cut at 0).
"""

import jax
import jax.numpy as jnp
import optax

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
from noisyjax.estimate.rank import place
from noisyjax.strategies.shared import semi


def expanded(probs: Array, chosen: Array, valid: Array, threshold: Array | float, fill: Array | float) -> Array:
  """Returns the rows to add to each network's: both are sure and agree, the surest first, until `fill` is reached.

  Args:
    probs: [2, B, C].
    chosen: bool [2, B].
    valid: bool [B].
    threshold: τ.
    fill: part of the valid rows.
  Returns:
    bool [2, B].
  """
  top, guess = probs.max(-1), probs.argmax(-1)  # [2, B]
  agreed = valid & (top > threshold).all(0) & (guess[0] == guess[1])  # [B]
  new = agreed & ~chosen
  surest = place(jnp.where(new, -top.mean(0), jnp.inf))
  room = jnp.floor(fill * valid.sum() + 1e-3) - chosen.sum(-1, keepdims=True)
  return new & (surest < room)


class Strategy(Base):
  """Two networks, each with a second head.

  Attributes:
    rho: part of an average class that is chosen by loss: follows the noise rate, which the method is told; below 0 it
      is what a mixture of Gaussians of the losses leaves.
    tau: confidence of the matched and of the added rows.
    expand: the last part of the phase in which rows are added.
    fill: see above.
    debias: a.
    debias_guess: b.
    bias_momentum: of π.
    temperature: T.
    alpha: of mixup.
    ramp: epochs until w is 1.
    unreliable: the largest weight of U.
    warmup: epochs of cross-entropy before.
  """

  unit_interval = ('tau', 'expand', 'fill', 'bias_momentum')
  networks = 2
  streams = {'train': Views('weak', 'strong')}
  mix = None
  estimable = ('rho',)
  rho: Traced = 0.5
  tau: Traced = 0.99
  expand: Traced = 0.42
  fill: Traced = 0.9
  debias: Traced = 0.8
  debias_guess: Traced = 0.8
  bias_momentum: Traced = 0.9999
  temperature: Traced = 0.5
  alpha: Traced = 4.0
  ramp: Traced = 50.0
  unreliable: Traced = 0.1
  warmup: int = 10

  @property
  def needs(self) -> tuple[str, ...]:
    return ('rate',) if self.rho >= 0 else ()

  def phases(self, name: str, epochs: int) -> Phases:
    first = min(self.warmup, epochs // 2)
    start = ('naive', first, {'strategy.naive.networks': 2, 'schedule.name': 'constant'})
    # The ramps begin with the warm-up as it really is.
    return ((start,) if first else ()) + ((name, epochs - first, {f'strategy.{name}.warmup': first}),)

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    kernel = jax.nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform', batch_axis=0)
    own = {'kernel': kernel(key, (2, data.features, data.classes)), 'bias': jnp.zeros((2, data.classes))}
    even = lambda: jnp.ones((2, data.classes)) / data.classes
    return own, {'chosen': even(), 'other': even()}  # π and π'

  def own_optimizer(self) -> optax.GradientTransformation:
    return semi.paced_sgd()

  def score(self, logits: Array, features: Array, batch: Batch) -> Scores:
    return row_losses(logits, batch)

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    label, rows = state.targets.label, state.targets.counted(ctx.rows)
    guess = lambda: 1 - mixture.noise_rate(scores['loss'].mean(0), rows)
    rho = jax.lax.cond(self.rho < 0, guess, lambda: self.rho)
    keep = jnp.maximum(jnp.ceil(rho * rows.sum() / ctx.classes - 1e-3), 1)
    small = jax.vmap(lambda per: semi.smallest_of_each_class(per, label, rows, keep, ctx.classes))(scores['loss'])
    return state.targets.replace(trust=small.astype(jnp.float32)), state.extra

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    b = batch['train']
    valid, label = b['weight'] > 0, b['target']  # [B], [B, C]
    since = (ctx.epoch + self.warmup).astype(jnp.float32)
    w, slow = semi.ramp(since, self.ramp), semi.ramp(since, 2 * self.ramp)
    own = semi.paced(params['own'], ctx.lr)
    second = lambda features: jnp.einsum('mbf,mfc->mbc', features, own['kernel']) + own['bias'][:, None]
    still = jax.lax.stop_gradient
    (weak, feats), (strong, feats_strong) = ctx.net(params, b['weak']), ctx.net(params, b['strong'])  # [2, B, ·]
    log_bias, log_other = (jnp.log(state.extra[k])[:, None] for k in ('chosen', 'other'))  # [2, 1, C]

    probs = still(jax.nn.softmax(weak))
    known = valid & ((b['trust'] > 0.5) | ((label * probs).sum(-1) > self.tau))  # [2, B]
    added = expanded(probs, known, valid, self.tau, self.fill) & (ctx.progress >= 1 - self.expand)
    chosen, other = known | added, valid & ~(known | added)
    guess = jax.nn.one_hot(still(weak - self.debias_guess * log_bias).argmax(-1), ctx.classes)
    target = jnp.where(known[..., None], label, guess)  # [2, B, C]

    lam_key, partner_key = jax.random.split(semi.mixing_key(ctx))
    lam, partner = semi.share(lam_key, self.alpha, (2,)), semi.partners(partner_key, chosen)
    blend = lambda a, part, mate: part * a + (1 - part) * mate
    images = blend(b['weak'][None], lam[:, None, None, None, None], b['weak'][partner])
    mates = jnp.take_along_axis(target, partner[..., None], 1)
    mixed_target = blend(target, lam[:, None, None], mates)
    mixed, feats_mixed = ctx.net(params, images)

    def mean(logits: Array, bias: Array, target: Array, rows: Array) -> Array:
      return losses.weighted_mean(losses.cross_entropy(logits + self.debias * bias, target), b['weight'] * rows)

    total = 0.0
    for head in (lambda logits, features: logits, lambda logits, features: second(features)):
      first, also, mix = head(weak, feats), head(strong, feats_strong), head(mixed, feats_mixed)
      total += mean(first, log_bias, target, chosen)
      total += w * (mean(also, log_bias, target, chosen) + mean(mix, log_bias, mixed_target, chosen))
    soft = semi.sharpen(jax.nn.softmax(still(weak) - self.debias_guess * log_other), self.temperature)
    unsure = mean(second(feats), log_other, soft, other) + w * mean(second(feats_strong), log_other, soft, other)
    total += jnp.where(slow < 1, self.unreliable * slow, 0.0) * unsure  # [2]

    def moved(bias: Array, rows: Array) -> Array:
      now = losses.weighted_mean(jnp.moveaxis(probs, -1, -2), b['weight'] * rows[:, None])  # [2, C]
      return jnp.where(rows.any(-1, keepdims=True), self.bias_momentum * bias + (1 - self.bias_momentum) * now, bias)

    extra = {'chosen': moved(state.extra['chosen'], chosen), 'other': moved(state.extra['other'], other)}
    per = losses.cross_entropy(weak, label)
    return total.sum(), Out(weak, {'loss': per, 'chosen': chosen, 'matched': known}, extra)
