"""ProMix (Xiao et al. 2023, IJCAI): selects rows by loss, confidence and agreement; a second head learns the others.

Selection, for each network m separately: the selected rows S are the ⌈ρ N/C⌉ rows of each class with the smallest loss
(determined once per epoch; all rows of a smaller class), plus the rows of the batch with p_y > τ. In the last part of
the phase, rows on whose prediction both networks agree with a confidence above τ are added while S fills less than
`fill` of the batch; their label is the unbiased prediction of network m, argmax(z − b log π). The other rows are U.

Loss: let ℓ_π(z, y) = CE(z + a log π, y), and let w be a ramp from 0 to 1. Both the head h and a second head h' on the
same features are trained with mean_S ℓ_π(weak) + w (mean_S ℓ_π(strong) + mean_S ℓ_π(mixup of S) + mean_S ℓ_π(FMix of
S)), each with mixtures of its own. FMix (Harris et al. 2020) pastes regions of another image of S, and its target mixes
the classes of the two. Only h' is trained on U, with u (mean_U ℓ_π'(weak, q) + w mean_U ℓ_π'(strong, q)), where q =
sharpen(softmax(z − b log π'), T) of h, and u is 0.1 · a ramp of twice the length, and 0 after its end, as in the
official code. π and π' follow the mean predictions of S and U: π ← 0.9999 π + 0.0001 p̄.

Official settings (run.sh): ResNet-18, SGD with learning rate 0.05 and weight decay 5e-4, batch size 256, 600 epochs,
cosine schedule to 1/1000, warm-up of 10 epochs (CIFAR-100: 30), ramp of 50 epochs from the start of the run; ρ 0.5 (0.7
at 20 % symmetric noise), τ 0.99 (0.95), a = b = 0.8 (0.5), T 0.5, Beta(4, 4), fill 0.9, expansion in the last 250
epochs; the strong view is RandAugment. ρ depends on the noise.

As in the code (Justherozen/ProMix, Train_promix.py, lines 88-336 and 419-455, utils/fmix.py, revision 40d8378), six
passes move the running statistics: the weak and the strong view, then mixup and FMix for h, then both for h'. Without
`fmix`, there are three: no FMix, and both heads share one mixup, at half the cost.

Departures: ρ is constant, as in all official runs. The mixtures pass through the networks together with the other rows
of the batch (official: those of S alone). The networks vote by mean probabilities (official: by mean logits). Rows
without a label take no part. An empty S or U leaves π unchanged. The penalty of the warm-up under asymmetric noise is
that of `naive`, of probabilities (official: of logits clipped at 0).
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
from noisyjax.strategies.shared import mixtures, semi


def expanded(probs: Array, chosen: Array, valid: Array, threshold: Array | float, fill: Array | float) -> Array:
  """Returns the rows to add to the selection of each network, bool [2, B].

  These are rows on whose class both networks agree with a confidence above the threshold. The most confident rows are
  added first, until the selection contains the fraction `fill` of the valid rows.

  Args:
    probs: predictions of both networks, [2, B, C].
    chosen: rows that are selected already, bool [2, B].
    valid: rows of nonzero weight, bool [B].
    threshold: τ.
    fill: maximum fraction of selected rows.
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
    rho: ρ, the fraction of an average class that is selected by loss, which depends on the noise rate that the method
      is told; a value below 0 stands for 1 minus a noise rate estimated with a Gaussian mixture of the losses.
    tau: τ, the confidence above which rows are selected by prediction or agreement.
    expand: fraction of the phase, at its end, in which rows are selected by agreement.
    fill: maximum fraction of the batch that is selected, counting rows that are added by agreement.
    debias: a, the factor on log π in the loss.
    debias_guess: b, the factor on log π in the pseudo-labels.
    bias_momentum: momentum of π and π'.
    temperature: temperature T of the sharpening.
    alpha: parameter of mixup's Beta(α, α).
    ramp: epochs until w is 1, counted from the start of the warm-up.
    unreliable: maximum weight of the loss of U.
    warmup: number of epochs of cross-entropy before this phase.
    decay: weight decay of the second heads; official: that of the networks.
    fmix: whether there is FMix, and each head has mixtures of its own, as in the official code.
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
  decay: Traced = 5e-4
  fmix: bool = True

  @property
  def needs(self) -> tuple[str, ...]:
    return ('rate',) if self.rho >= 0 else ()

  def phases(self, name: str, epochs: int) -> Phases:
    first = min(self.warmup, epochs // 2)
    start = ('naive', first, {'strategy.naive.networks': 2, 'schedule.name': 'constant'})
    # The ramps count from the start of the warm-up, whose length may have been reduced.
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

    def mean(logits: Array, bias: Array, target: Array, rows: Array) -> Array:
      return losses.weighted_mean(losses.cross_entropy(logits + self.debias * bias, target), b['weight'] * rows)

    total, mixed = 0.0, []
    for i, head in enumerate((lambda logits, features: logits, lambda logits, features: second(features))):
      if i == 0 or self.fmix:  # without FMix, the second head has the mixup of the first one
        one, two = jax.random.split(jax.random.fold_in(semi.mixing_key(ctx), i))
        made = [mixtures.mixup(one, self.alpha, b['weak'], target, chosen)]
        made += [mixtures.fmix(two, b['weak'], target, chosen)] if self.fmix else []
        mixed = [(ctx.net(params, images), blended) for images, blended in made]
      total += mean(head(weak, feats), log_bias, target, chosen)
      total += w * mean(head(strong, feats_strong), log_bias, target, chosen)
      total += w * sum(mean(head(*out), log_bias, mixed_target, chosen) for out, mixed_target in mixed)
    soft = semi.sharpen(jax.nn.softmax(still(weak) - self.debias_guess * log_other), self.temperature)
    unsure = mean(second(feats), log_other, soft, other) + w * mean(second(feats_strong), log_other, soft, other)
    total += jnp.where(slow < 1, self.unreliable * slow, 0.0) * unsure  # [2]

    def moved(bias: Array, rows: Array) -> Array:
      now = losses.weighted_mean(jnp.moveaxis(probs, -1, -2), b['weight'] * rows[:, None])  # [2, C]
      return jnp.where(rows.any(-1, keepdims=True), self.bias_momentum * bias + (1 - self.bias_momentum) * now, bias)

    extra = {'chosen': moved(state.extra['chosen'], chosen), 'other': moved(state.extra['other'], other)}
    per = losses.cross_entropy(weak, label)
    total = total.sum() + semi.decayed(own, self.decay)
    return total, Out(weak, {'loss': per, 'chosen': chosen, 'matched': known}, extra)
