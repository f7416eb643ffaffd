"""Shared parts of semi-supervised methods: sharpening, mixup within a loss, ramps, penalties and MixMatch's losses.

The network axis M always comes first: images are [M, B, H, W, C], targets and logits [M, B, C]. Methods with labeled
and unlabeled rows inherit from `SemiSupervised`, which determines which rows are labeled, by given or verified labels.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp
import optax
from jax import Array

from noisyjax.engine import losses, placement
from noisyjax.engine.strategy import Batch, Ctx, PyTree, Scores, Strategy, Targets, TrainData, TrainState
from noisyjax.estimate.rank import rank
from noisyjax.system.errors import check_choice

# `Ctx.net` folds the number of the call, from 0, into the key of the step; mixing folds in this number.
_MIXING = 1 << 16


def sharpen(probs: Array, temperature: Array | float) -> Array:
  """Returns p^(1/T) / Σ p^(1/T) over the last axis (Berthelot et al. 2019, eq. 7); T below 1e-3 counts as 1e-3."""
  logits = jnp.log(jnp.maximum(probs, 1e-12)) / jnp.maximum(temperature, 1e-3)
  return jax.nn.softmax(logits)


def ramp(epoch: Array, length: Array | float, start: Array | float = 0.0) -> Array:
  """Returns clip((epoch − start) / length, 0, 1), a linear ramp for the weight of a loss."""
  return jnp.clip((epoch - start) / jnp.maximum(length, 1e-6), 0.0, 1.0)


def mixing_key(ctx: Ctx) -> Array:
  """Returns the key of this step for mixing; no call of `ctx.net` uses it."""
  return jax.random.fold_in(ctx.key, _MIXING)


def share(key: Array, alpha: Array | float, shape: tuple[int, ...] = ()) -> Array:
  """Returns λ′ = max(λ, 1 − λ) with λ ~ Beta(α, α), the larger weight of a mixture; 1 (no mixing) if α = 0."""
  some = jnp.maximum(alpha, 1e-3)
  lam = jax.random.beta(key, some, some, shape)
  return jnp.where(alpha > 0, jnp.maximum(lam, 1 - lam), 1.0)


def mix(key: Array, alpha: Array | float, images: Array, targets: Array, weight: Array) -> tuple[Array, Array, Array]:
  """Mixes each row with another row of the same network (MixMatch, eqs. 8–11).

  Each network draws one λ′ = max(λ, 1 − λ) per step.

  Args:
    key: key of this step.
    alpha: parameter of Beta(α, α).
    images: [M, B, H, W, C].
    targets: [M, B, C].
    weight: [M, B]; a partner of weight 0 (from an empty stream) is not mixed in.

  Returns:
    Mixed images, mixed targets, and the index of each row's partner, int32 [M, B].
  """

  def drawn(key: Array, targets: Array, weight: Array) -> tuple[Array, Array, Array]:
    lam_key, order_key = jax.random.split(key)
    lam = share(lam_key, alpha)
    partner = jax.random.permutation(order_key, len(weight))
    own = jnp.where(weight[partner] > 0, lam, 1.0)
    part = own[:, None]
    return own, part * targets + (1 - part) * targets[partner], partner

  def mixed(images: Array, own: Array, partner: Array) -> Array:
    pixels = own[:, None, None, None]
    return pixels * images + (1 - pixels) * images[partner]

  keys = jax.random.split(key, len(images))
  own, targets, partner = placement.apart(jax.vmap(drawn))(keys, targets, weight)
  return jax.vmap(mixed)(images, own, partner), targets, partner


def prior_penalty(logits: Array, weight: Array) -> Array:
  """Returns Σ_c π_c log(π_c / p̄_c) for each network, [M], with a uniform prior π (Tanaka et al. 2018, eq. 6).

  p̄ is the mean prediction over the batch.

  Args:
    logits: [M, B, C].
    weight: weights of the rows, [B] or [M, B].
  """
  probs = jnp.moveaxis(jax.nn.softmax(logits), -1, -2)  # [M, C, B]
  weight = jnp.broadcast_to(weight, logits.shape[:-1])
  mean = losses.weighted_mean(probs, weight[:, None])  # [M, C]
  classes = logits.shape[-1]
  return jnp.where(weight.sum(-1) > 0, (jnp.log(1 / classes) - jnp.log(jnp.maximum(mean, 1e-8))).mean(-1), 0.0)


def squared_error(logits: Array, targets: Array) -> Array:
  """Returns mean_c (softmax(logits)_c − target_c)² per example, MixMatch's loss for guessed labels (eq. 4)."""
  return ((jax.nn.softmax(logits) - targets) ** 2).mean(-1)


def paced(own: PyTree, rate: Array) -> PyTree:
  """Returns `own` unchanged, but multiplies its gradients by `rate` (`ctx.lr`).

  With `optax.sgd(1.0, momentum)`, the learnables of a strategy then follow the learning-rate schedule of the networks.
  """
  still = jax.lax.stop_gradient(own)
  return jax.tree.map(lambda p, q: q + rate * (p - q), own, still)


def decayed(own: PyTree, decay: Array | float) -> Array:
  """Returns 0, whose gradient by `own` is decay · own: weight decay as in PyTorch, for what `paced` returns."""
  still = jax.lax.stop_gradient(own)
  return jnp.asarray(decay * optax.tree.vdot(still, jax.tree.map(jnp.subtract, own, still)))


def paced_sgd() -> optax.GradientTransformation:
  """Returns the optimizer for learnables whose gradients `paced` has multiplied by the learning rate."""
  return optax.sgd(1.0, momentum=0.9)


def smallest_of_each_class(per: Array, label: Array, rows: Array, keep: Array | int, classes: int) -> Array:
  """Returns the `keep` rows of each class with the smallest values, bool [N].

  Args:
    per: values [N].
    label: class of each row, int [N].
    rows: bool [N], the rows to choose from.
    keep: number of rows per class.
    classes: number of classes.
  """
  return rows & (rank(per, jnp.where(rows, label, classes), classes) < keep)


def partners(key: Array, chosen: Array) -> Array:
  """Returns, for each network, a random permutation of the chosen rows among themselves, int [M, B].

  Args:
    key: random key.
    chosen: bool [M, B]; the result has a meaning at these rows only.
  """

  def one(key: Array, chosen: Array) -> Array:
    uniform = jax.random.uniform(key, (2, len(chosen)))
    first, second = jnp.argsort(jnp.where(chosen, uniform, 2.0), -1)  # chosen rows come first, in two random orders
    return jnp.zeros_like(first).at[first].set(second)

  return jax.vmap(one)(jax.random.split(key, len(chosen)), chosen)


def filled(images: Array, weight: Array, others: Array) -> Array:
  """Replaces images of weight 0 (the blanks of an empty stream) so that they do not distort the batch statistics.

  Args:
    images: [..., B, H, W, C].
    weight: [..., B].
    others: replacements [..., A, H, W, C], repeated as needed.
  """
  count, found = images.shape[-4], others.shape[-4]
  if count != found:  # otherwise each device has the replacements of its own rows
    others = jnp.take(others, jnp.arange(count) % found, axis=-4)
  return jnp.where(weight[..., None, None, None] > 0, images, others)


def guessed(
  ctx: Ctx, unlabeled: Batch, temperature: Array | float, others: Array, keep: bool
) -> tuple[Array, Array, Array]:
  """Guesses the labels of unlabeled rows from two views of each row, one after the other, in training mode.

  Args:
    ctx: context of the loss.
    unlabeled: batch of unlabeled rows.
    temperature: temperature of the sharpening.
    others: images that replace blanks, see `filled`.
    keep: whether the running statistics are updated.

  Returns:
    Both views [1, 2B, …], the sharpened mean prediction for each view [1, 2B, C], and weights [1, 2B].
  """
  views = [filled(unlabeled[name], unlabeled['weight'], others) for name in ('weak', 'weak1')]
  first, second = (jax.nn.softmax(ctx.guess(view, keep)[0]) for view in views)  # [1, B, C]
  weight = jnp.tile(unlabeled['weight'], 2)[None]
  guess = sharpen((first + second) / 2, temperature)
  return jnp.concatenate(views)[None], jnp.tile(guess, (1, 2, 1)), weight


def mixmatch(
  ctx: Ctx,
  params: PyTree,
  alpha: Array | float,
  labeled: tuple[Array, Array, Array],
  unlabeled: tuple[Array, Array, Array],
  class_weight: Array | float = 1.0,
  apart: bool = False,
) -> tuple[Array, Array, Array]:
  """Mixes labeled and unlabeled rows and returns MixMatch's two losses (Berthelot et al. 2019, algorithm 1).

  Args:
    ctx: context of the loss.
    params: parameters of the networks and of the strategy.
    alpha: parameter of Beta(α, α).
    labeled: images [M, A, H, W, C], targets [M, A, C] and weights [M, A]; several views are concatenated along A.
    unlabeled: the same for B unlabeled rows, with guessed targets.
    class_weight: factors on the cross-entropy of each class [C], or 1.
    apart: whether the mixed rows pass through the networks in parts of A, of which only the first one, that of the
      labeled rows, moves the running statistics; otherwise all pass at once.

  Returns:
    Logits of the mixed rows [M, A + B, C], cross-entropy [M, A] and squared error [M, B] per example.
  """
  images, weight = labeled[0], labeled[2]
  both = (filled(images, weight, unlabeled[0]), filled(unlabeled[0], unlabeled[2], images))
  targets, weights = (jnp.concatenate([labeled[i], unlabeled[i]], 1) for i in (1, 2))
  mixed, targets, _ = mix(mixing_key(ctx), alpha, jnp.concatenate(both, 1), targets, weights)
  n_labeled = weight.shape[-1]
  parts = jnp.split(mixed, list(range(n_labeled, mixed.shape[1], n_labeled)), 1) if apart else [mixed]
  logits = jnp.concatenate([ctx.net(params, part, keep=i == 0)[0] for i, part in enumerate(parts)], 1)
  return (
    logits,
    losses.cross_entropy(logits[:, :n_labeled], class_weight * targets[:, :n_labeled]),
    squared_error(logits[:, n_labeled:], targets[:, n_labeled:]),
  )


def relabeled(targets: Targets, label: Array) -> Targets:
  """Returns the targets with hard labels, int32 [N], -1 = unlabeled; soft targets become one-hot."""
  soft = None if targets.soft is None else jax.nn.one_hot(label, targets.soft.shape[-1])
  return targets.replace(label=label, soft=soft)


class SemiSupervised(Strategy):
  """Base of methods that train on labeled rows and on the images of unlabeled rows.

  Attributes:
    source: labels that are used, "given" (the targets at the start of the phase; in a run of one phase the given
      labels) or "verified" (only trusted rows are labeled, and no given label is used).
  """

  source: str = 'given'

  @classmethod
  def build(cls, **values: Any) -> Self:
    built = super().build(**values)
    check_choice(f'strategy.{cls.__module__.split(".")[-1]}.source', built.source, ('given', 'verified'))
    return built

  @property
  def needs(self) -> tuple[str, ...]:
    return ('verified',) if self.source == 'verified' else ()

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'known': jnp.array(getattr(data, self.source), jnp.int32)}

  def members(self, state: TrainState) -> dict[str, Array]:
    labeled = state.targets.labeled
    return {name: labeled if views.labeled else ~labeled for name, views in self.streams.items()}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    if self.source == 'given':
      return state.targets, state.extra
    return relabeled(state.targets, state.extra['known']), state.extra
