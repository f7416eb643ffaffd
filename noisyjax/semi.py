"""What semi-supervised methods share: sharpening, mixup inside a loss, ramps, penalties and MixMatch's two losses.

Everything keeps the network axis M in front; images are [M, B, H, W, C], targets and logits [M, B, C].
"""

import jax
import jax.numpy as jnp

from noisyjax import losses

Array = jax.Array


def sharpen(probs: Array, temperature: Array | float) -> Array:
  """Returns p^(1/T) / Σ p^(1/T) over the last axis (Berthelot et al. 2019, eq. 7)."""
  logits = jnp.log(jnp.maximum(probs, 1e-12)) / temperature
  return jax.nn.softmax(logits)


def ramp(epoch: Array, length: Array | float, start: Array | float = 0.0) -> Array:
  """Returns clip((epoch − start) / length, 0, 1): the linear rise of a loss's weight."""
  return jnp.clip((epoch - start) / jnp.maximum(length, 1e-6), 0.0, 1.0)


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
    lam = jax.random.beta(lam_key, alpha, alpha)
    lam = jnp.maximum(lam, 1 - lam)
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
