"""What semi-supervised methods share: sharpening, mixup inside a loss, ramps, penalties and MixMatch's two losses.

Everything keeps the network axis M in front; images are [M, B, H, W, C], targets and logits [M, B, C]. Which rows are
labeled, and by whom, is settled by `SemiSupervised`, from which methods with labeled and unlabeled rows descend.
"""

import jax
import jax.numpy as jnp
import optax

from noisyjax.engine import losses
from noisyjax.engine.strategy import Strategy
from noisyjax.estimate.rank import rank
from noisyjax.system.errors import check_choice

Array = jax.Array
# `Ctx.net` folds its calls, counted from 0, into the step's key; mixing folds this.
_MIXING = 1 << 16


def sharpen(probs: Array, temperature: Array | float) -> Array:
  """Returns p^(1/T) / Σ p^(1/T) over the last axis (Berthelot et al. 2019, eq. 7); at T = 0 the argmax, as good as."""
  logits = jnp.log(jnp.maximum(probs, 1e-12)) / jnp.maximum(temperature, 1e-3)
  return jax.nn.softmax(logits)


def ramp(epoch: Array, length: Array | float, start: Array | float = 0.0) -> Array:
  """Returns clip((epoch − start) / length, 0, 1): the linear rise of a loss's weight."""
  return jnp.clip((epoch - start) / jnp.maximum(length, 1e-6), 0.0, 1.0)


def mixing_key(ctx) -> Array:
  """Returns the step's key for mixing, which no call of `ctx.net` uses."""
  return jax.random.fold_in(ctx.key, _MIXING)


def share(key: Array, alpha: Array | float, shape: tuple[int, ...] = ()) -> Array:
  """Returns λ′ = max(λ, 1 − λ) with λ ~ Beta(α, α), the larger part of a mixture; α = 0 mixes nothing."""
  some = jnp.maximum(alpha, 1e-3)
  lam = jax.random.beta(key, some, some, shape)
  return jnp.where(alpha > 0, jnp.maximum(lam, 1 - lam), 1.0)


def mix(key: Array, alpha: Array | float, images: Array, targets: Array, weight: Array) -> tuple[Array, Array, Array]:
  """MixMatch's mixup (eqs. 8–11): every row with another of its network, by one λ′ = max(λ, 1 − λ) a network and step.

  Args:
    key: of this step. alpha: of Beta(α, α). images: [M, B, H, W, C]. targets: [M, B, C].
    weight: [M, B]; a partner of weight 0 (of an empty stream) is not mixed in.
  Returns:
    mixed images and targets, and the partner's index, int32 [M, B].
  """

  def one(key, images, targets, weight):
    lam_key, order_key = jax.random.split(key)
    lam = share(lam_key, alpha)
    partner = jax.random.permutation(order_key, len(weight))
    own = jnp.where(weight[partner] > 0, lam, 1.0)
    part = own[:, None]
    pixels = own[:, None, None, None]
    return pixels * images + (1 - pixels) * images[partner], part * targets + (1 - part) * targets[partner], partner

  return jax.vmap(one)(jax.random.split(key, len(images)), images, targets, weight)


def prior_penalty(logits: Array, weight: Array) -> Array:
  """Returns Σ_c π_c log(π_c / p̄_c) with π uniform and p̄ the batch's mean prediction (Tanaka et al. 2018, eq. 6).

  Args:
    logits: [M, B, C]. weight: [B] or [M, B], rows that count.
  Returns:
    [M].
  """
  probs = jnp.moveaxis(jax.nn.softmax(logits), -1, -2)  # [M, C, B]
  weight = jnp.broadcast_to(weight, logits.shape[:-1])
  mean = losses.weighted_mean(probs, weight[:, None])  # [M, C]
  classes = logits.shape[-1]
  return jnp.where(weight.sum(-1) > 0, (jnp.log(1 / classes) - jnp.log(jnp.maximum(mean, 1e-8))).mean(-1), 0.0)


def squared_error(logits: Array, targets: Array) -> Array:
  """Returns mean_c (softmax(logits)_c − target_c)² per example: MixMatch's loss of guessed labels (eq. 4)."""
  return ((jax.nn.softmax(logits) - targets) ** 2).mean(-1)


def paced(own, rate: Array):
  """Returns `own` as it is, with gradients multiplied by `rate` (a batch's `ctx.lr`).

  Beside the networks, `optax.sgd(1.0, momentum)` then follows the schedule that the networks follow.
  """
  still = jax.lax.stop_gradient(own)
  return jax.tree.map(lambda p, q: q + rate * (p - q), own, still)


def paced_sgd() -> optax.GradientTransformation:
  """Returns the optimizer of learnables whose gradient `paced` has given the learning rate."""
  return optax.sgd(1.0, momentum=0.9)


def smallest_of_each_class(per: Array, label: Array, rows: Array, keep: Array, classes: int) -> Array:
  """Returns the `keep` rows of each class with the smallest `per`: per [N], label int [N], rows bool [N] → bool [N]."""
  return rows & (rank(per, jnp.where(rows, label, classes), classes) < keep)


def partners(key: Array, chosen: Array) -> Array:
  """Returns, for each network, a random permutation of its chosen rows among themselves: bool [M, B] → int [M, B]."""

  def one(key, chosen):
    uniform = jax.random.uniform(key, (2, len(chosen)))
    first, second = jnp.argsort(jnp.where(chosen, uniform, 2.0), -1)  # chosen rows lead, in two random orders
    return jnp.zeros_like(first).at[first].set(second)

  return jax.vmap(one)(jax.random.split(key, len(chosen)), chosen)


def filled(images: Array, weight: Array, others: Array) -> Array:
  """Returns images, with those of weight 0 (an empty stream's blanks) taken from `others`: for batch statistics' sake.

  Args:
    images: [..., B, H, W, C]. weight: [..., B]. others: [..., A, H, W, C], repeated as needed.
  """
  again = jnp.take(others, jnp.arange(images.shape[-4]) % others.shape[-4], axis=-4)
  return jnp.where(weight[..., None, None, None] > 0, images, again)


def guessed(ctx, unlabeled: dict[str, Array], temperature, others: Array, keep: bool) -> tuple[Array, Array, Array]:
  """Guesses the labels of unlabeled rows from two views of each, in training mode.

  Args:
    ctx: of the loss. unlabeled: the batch. temperature: of the sharpening. others: images that stand in for blanks.
    keep: whether the running statistics move.
  Returns:
    Both views [1, 2B, …], the sharpened mean prediction of each row, and weights [1, 2B].
  """
  weight = jnp.tile(unlabeled['weight'], 2)
  views = filled(jnp.concatenate([unlabeled['weak'], unlabeled['weak1']]), weight, others)
  probs = jnp.stack(jnp.split(jax.nn.softmax(ctx.guess(views, keep)[0]), 2, 1)).mean(0)  # [1, B, C]
  return views[None], jnp.tile(sharpen(probs, temperature), (1, 2, 1)), weight[None]


def mixmatch(
  ctx, params, alpha: Array | float, labeled: tuple, unlabeled: tuple, class_weight: Array | float = 1.0
) -> tuple[Array, Array, Array]:
  """MixMatch's step (Berthelot et al. 2019, algorithm 1): mixes all rows with one another and takes the two losses.

  Args:
    ctx, params: of the loss. alpha: of Beta(α, α).
    labeled: images [M, A, H, W, C], targets [M, A, C] and weight [M, A]; several views of a row follow one another.
    unlabeled: the same of B rows, with guessed targets.
    class_weight: [C], factors on the classes' parts of the cross-entropy.
  Returns:
    logits of the mixed rows [M, A + B, C], cross-entropy [M, A] and squared error [M, B] per example.
  """
  images, weight = labeled[0], labeled[2]
  both = (filled(images, weight, unlabeled[0]), filled(unlabeled[0], unlabeled[2], images))
  targets, weights = (jnp.concatenate([labeled[i], unlabeled[i]], 1) for i in (1, 2))
  mixed, targets, _ = mix(mixing_key(ctx), alpha, jnp.concatenate(both, 1), targets, weights)
  logits, _ = ctx.net(params, mixed)
  cut = weight.shape[-1]
  return (
    logits,
    losses.cross_entropy(logits[:, :cut], class_weight * targets[:, :cut]),
    squared_error(logits[:, cut:], targets[:, cut:]),
  )


def relabeled(targets, label: Array):
  """Returns the targets with these hard labels, int32 [N], -1 = unlabeled (one-hot, where the targets are soft)."""
  soft = None if targets.soft is None else jax.nn.one_hot(label, targets.soft.shape[-1])
  return targets.replace(label=label, soft=soft)


class SemiSupervised(Strategy):
  """A method for which some rows are labeled, and the others are images alone.

  Attributes:
    source: whose labels count: "given" (the targets as the phase finds them: in a run of one phase the given labels)
      or "verified" (trusted rows are labeled; all others are unlabeled, and their given labels reach nothing).
  """

  source: str = 'given'

  @classmethod
  def build(cls, **values):
    built = super().build(**values)
    check_choice(f'strategy.{cls.__module__.split(".")[-1]}.source', built.source, ('given', 'verified'))
    return built

  @property
  def needs(self):
    return ('verified',) if self.source == 'verified' else ()

  def init(self, key, data):
    return {}, {'known': jnp.array(getattr(data, self.source), jnp.int32)}

  def members(self, state):
    labeled = state.targets.labeled
    return {name: labeled if views.labeled else ~labeled for name, views in self.streams.items()}

  def refresh(self, state, scores, ctx):
    if self.source == 'given':
      return state.targets, state.extra
    return relabeled(state.targets, state.extra['known']), state.extra
