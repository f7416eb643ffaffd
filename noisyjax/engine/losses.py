"""Losses per example, as in optax, and their weighted mean; only `weighted_mean` reduces over examples."""

import math

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, target: Array, floor: float = 0.0) -> Array:
  """Returns −Σ_c target_c log softmax(logits)_c per example; 0 for a target of zeros (an unlabeled row).

  Args:
    logits: [..., B, C].
    target: [B, C] or [..., B, C], one-hot or soft.
    floor: least probability, static; smaller ones are replaced by it and have no gradient, as in Keras.
  """
  logp = jax.nn.log_softmax(logits)
  if floor:
    logp = jnp.maximum(logp, math.log(floor))
  # Classes of target 0 are masked: 0 · −inf would be NaN.
  return -jnp.where(target == 0, 0.0, target * logp).sum(-1)


def smooth(target: Array, smoothing: Array | float) -> Array:
  """Returns (1 − s)·target + s/C for labeled rows; targets of zeros (unlabeled rows) stay zero."""
  labeled = target.sum(-1, keepdims=True)
  return (1 - smoothing) * target + smoothing * labeled / target.shape[-1]


def weighted_mean(per: Array, weight: Array) -> Array:
  """Returns Σ w·x / Σ w over the last axis.

  Args:
    per: x, [..., B].
    weight: w ≥ 0, [B] or [..., B].

  Returns:
    [...]; 0 if all weights are 0.
  """
  weight = jnp.broadcast_to(weight, per.shape)
  # Rows of weight 0 are masked: 0 · inf is NaN.
  total = jnp.where(weight > 0, per * weight, 0.0).sum(-1)
  return total / jnp.maximum(weight.sum(-1), 1e-8)


def generalized_cross_entropy(logits: Array, target: Array, q: Array | float) -> Array:
  """Returns Σ_c target_c (1 − p_c^q)/q per example (Zhang & Sabuncu 2018).

  For a one-hot target, q = 1 is half the absolute error, and q → 0 is cross-entropy.
  """
  q = jnp.maximum(q, 1e-6)
  return jnp.where(target == 0, 0.0, target * -jnp.expm1(q * jax.nn.log_softmax(logits)) / q).sum(-1)


def reverse_cross_entropy(logits: Array, target: Array, floor: float = 1e-4) -> Array:
  """Returns −Σ_c p_c log max(target_c, floor) per example (Wang et al. 2019); 0 for a target of zeros."""
  per = -(jax.nn.softmax(logits) * jnp.log(jnp.clip(target, floor, 1.0))).sum(-1)
  return jnp.where(target.sum(-1) > 0, per, 0.0)


def absolute_error(logits: Array, target: Array) -> Array:
  """Returns Σ_c |p_c − target_c| per example (Ghosh et al. 2017): 2 − 2 p_y for a label y, 0 for zeros."""
  per = jnp.abs(jax.nn.softmax(logits) - target).sum(-1)
  return jnp.where(target.sum(-1) > 0, per, 0.0)


def bootstrapped(logits: Array, target: Array, beta: Array | float, hard: bool = False) -> Array:
  """Returns −Σ_c (β target_c + (1 − β) z_c) log p_c per example (Reed et al. 2015).

  Args:
    logits: [..., B, C].
    target: [B, C] or [..., B, C].
    beta: β, in [0, 1].
    hard: whether z is the one-hot argmax of the prediction p; otherwise z is p.
  """
  logp = jax.nn.log_softmax(logits)
  own = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1]) if hard else jnp.exp(logp)
  labeled = target.sum(-1, keepdims=True)
  return cross_entropy(logits, beta * target + (1 - beta) * labeled * own)


def early_learning(logits: Array, memory: Array) -> Array:
  """Returns log(1 − ⟨p, memory⟩) per example, with p clipped to [1e-4, 1 − 1e-4] (Liu et al. 2020)."""
  probs = jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)
  return jnp.log(1 - (probs * memory).sum(-1))


# Tempered logarithm log_t(u) = (u^(1 − t) − 1)/(1 − t) and its inverse exp_t(x) = max(1 + (1 − t)x, 0)^(1/(1 − t)). The
# functions below take log u and return log exp_t(x), so that no power overflows or underflows.


def _tempered_log(log_u: Array, t: Array | float) -> Array:
  """Returns log_t(u), given log u."""
  flat = t == 1
  r = jnp.where(flat, 1.0, 1 - t)
  return jnp.where(flat, log_u, jnp.expm1(r * log_u) / r)


def _log_tempered_exp(x: Array, t: Array | float) -> Array:
  """Returns log exp_t(x); where exp_t(x) = 0, it returns -1e4 in place of −∞, with gradient 0."""
  flat = t == 1
  r = jnp.where(flat, 1.0, 1 - t)
  inside = r * x > -1
  return jnp.where(flat, x, jnp.where(inside, jnp.log1p(jnp.where(inside & ~flat, r * x, 0.0)) / r, -1e4))


def tempered_log_softmax(logits: Array, t: Array | float, iterations: int = 5) -> Array:
  """Returns log p with p = exp_t(logits − λ) and λ such that Σ_c p_c = 1 (Amid et al. 2019); t = 1: log softmax.

  Newton's method solves S(λ)^(1 − t) = 1 with S = Σ_c exp_t(logits_c − λ). The left side is concave and increasing for
  t > 1, and convex and decreasing for t < 1, so the iterates increase from max logits to λ without overshooting. For
  t = 1 the first step is exact.

  Args:
    logits: [..., C].
    t: temperature ≥ 0, traced.
    iterations: Newton steps without a gradient. Two more steps carry it: one step from the solution gives the first
      derivative of λ, two give the second.
  """

  def nearer(logits: Array, shift: Array) -> Array:
    logp = _log_tempered_exp(logits - shift, t)
    total = jnp.exp(logp).sum(-1, keepdims=True)
    return shift + total * _tempered_log(jnp.log(total), 2 - t) / jnp.exp(t * logp).sum(-1, keepdims=True)

  logits = logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True))  # does not change p; improves precision
  fixed = jax.lax.stop_gradient(logits)
  shift = jnp.zeros_like(fixed[..., :1])
  for _ in range(iterations):
    shift = nearer(fixed, shift)
  shift = jax.lax.stop_gradient(shift)  # without this, a gradient in t would pass through the loop
  for _ in range(2):
    shift = nearer(logits, shift)
  return _log_tempered_exp(logits - shift, t)


def bi_tempered(logits: Array, target: Array, t1: Array | float, t2: Array | float, iterations: int = 5) -> Array:
  """Returns the bi-tempered logistic loss per example (Amid et al. 2019); 0 for a target of zeros.

  The loss is Σ_c y_c (log_t1 y_c − log_t1 p_c) − (y_c^(2 − t1) − p_c^(2 − t1))/(2 − t1), where p is the tempered
  softmax of temperature t2. With t1 = t2 = 1 it is KL(y‖p), which is cross-entropy if y is one-hot.

  Args:
    logits: [..., B, C].
    target: y, [B, C] or [..., B, C], one-hot or soft.
    t1: temperature in [0, 1].
    t2: temperature ≥ 1; values from 0 on work, too.
    iterations: see `tempered_log_softmax`.
  """
  logp = tempered_log_softmax(logits, t2, iterations)
  claimed = target > 0
  log_y = jnp.log(jnp.where(claimed, target, 1.0))
  fit = jnp.where(claimed, target * (_tempered_log(log_y, t1) - _tempered_log(logp, t1)), 0.0)
  power = jnp.exp((2 - t1) * logp) - jnp.where(claimed, jnp.exp((2 - t1) * log_y), 0.0)
  return jnp.where(claimed.any(-1), (fit + power / (2 - t1)).sum(-1), 0.0)


def forward_corrected(logits: Array, target: Array, matrix: Array, edge: float = 0.0) -> Array:
  """Returns −Σ_c target_c log (p·T)_c per example (Patrini et al. 2017, theorem 2).

  Args:
    logits: [..., B, C].
    target: [B, C] or [..., B, C].
    matrix: T, [C, C]; rows are true classes, columns given classes, and rows sum to 1.
    edge: p is clipped to [edge, 1 − edge]; beyond, it has no gradient, as in Keras.
  """
  probs = jax.nn.softmax(logits)
  given = jnp.matmul(jnp.clip(probs, edge, 1 - edge) if edge else probs, matrix, precision='highest')
  return -jnp.where(target == 0, 0.0, target * jnp.log(jnp.maximum(given, 1e-30))).sum(-1)


def backward_corrected(logits: Array, target: Array, inverse: Array) -> Array:
  """Returns Σ_c target_c (T⁻¹ ℓ)_c per example, with ℓ = −log max(p, 1e-7) (Patrini et al. 2017, theorem 1).

  Args:
    logits: [..., B, C].
    target: [B, C] or [..., B, C].
    inverse: T⁻¹, [C, C].
  """
  each = -jnp.maximum(jax.nn.log_softmax(logits), jnp.log(1e-7))
  return (target * jnp.matmul(each, inverse.T, precision='highest')).sum(-1)
