"""Per-example losses and how they are averaged, in optax's style: nothing here reduces over examples unasked."""

import jax
import jax.numpy as jnp

Array = jax.Array


def cross_entropy(logits: Array, target: Array) -> Array:
  """Returns −Σ_c target_c log softmax(logits)_c per example; a row of zeros (an unlabeled row) costs nothing.

  Args:
    logits: [..., B, C].
    target: [B, C] or [..., B, C], one-hot or soft.
  """
  logp = jax.nn.log_softmax(logits)
  # A zero target times −inf would be NaN: a class that a row does not claim must not cost anything.
  return -jnp.where(target == 0, 0.0, target * logp).sum(-1)


def smooth(target: Array, smoothing: Array | float) -> Array:
  """Returns (1 − s)·target + s/C on labeled rows (those whose target is not all zeros)."""
  labeled = target.sum(-1, keepdims=True)
  return (1 - smoothing) * target + smoothing * labeled / target.shape[-1]


def weighted_mean(per: Array, weight: Array) -> Array:
  """Returns Σ w·x / Σ w over the last axis: per [..., B], weight [B] or [..., B] → [...]; 0 where no row counts."""
  weight = jnp.broadcast_to(weight, per.shape)
  # Rows of weight 0 are cut out before the product: 0 · inf is NaN.
  total = jnp.where(weight > 0, per * weight, 0.0).sum(-1)
  return total / jnp.maximum(weight.sum(-1), 1e-8)
