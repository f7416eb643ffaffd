"""Per-example losses and how they are averaged, in optax's style: nothing here reduces over examples unasked."""

import jax
import jax.numpy as jnp
from jax import Array


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


def generalized_cross_entropy(logits: Array, target: Array, q: Array | float) -> Array:
  """Returns Σ_c target_c (1 − p_c^q)/q (Zhang & Sabuncu 2018); q = 1 is half the absolute error, q → 0 is CE."""
  q = jnp.maximum(q, 1e-6)
  return jnp.where(target == 0, 0.0, target * -jnp.expm1(q * jax.nn.log_softmax(logits)) / q).sum(-1)


def reverse_cross_entropy(logits: Array, target: Array, floor: float = 1e-4) -> Array:
  """Returns −Σ_c p_c log max(target_c, floor) per example (Wang et al. 2019); 0 for a row of zeros."""
  per = -(jax.nn.softmax(logits) * jnp.log(jnp.clip(target, floor, 1.0))).sum(-1)
  return jnp.where(target.sum(-1) > 0, per, 0.0)


def absolute_error(logits: Array, target: Array) -> Array:
  """Returns Σ_c |p_c − target_c| per example (Ghosh et al. 2017): 2 − 2 p_y for a label y, 0 for a row of zeros."""
  per = jnp.abs(jax.nn.softmax(logits) - target).sum(-1)
  return jnp.where(target.sum(-1) > 0, per, 0.0)


def bootstrapped(logits: Array, target: Array, beta: Array | float, hard: bool = False) -> Array:
  """Returns −Σ_c (β target_c + (1 − β) z_c) log p_c, z the prediction or, `hard`, its argmax (Reed et al. 2015)."""
  logp = jax.nn.log_softmax(logits)
  own = jax.nn.one_hot(logits.argmax(-1), logits.shape[-1]) if hard else jnp.exp(logp)
  labeled = target.sum(-1, keepdims=True)
  return cross_entropy(logits, beta * target + (1 - beta) * labeled * own)


def early_learning(logits: Array, memory: Array) -> Array:
  """Returns log(1 − ⟨p, memory⟩) per example, p in [1e-4, 1 − 1e-4] (Liu et al. 2020)."""
  probs = jnp.clip(jax.nn.softmax(logits), 1e-4, 1 - 1e-4)
  return jnp.log(1 - (probs * memory).sum(-1))


# Tempered logarithm and exponential, both in the log of their positive side so that no power overflows or underflows:
# log_t(u) = (u^(1 − t) − 1)/(1 − t) and its inverse exp_t(x) = max(1 + (1 − t)x, 0)^(1/(1 − t)).


def _tempered_log(log_u: Array, t: Array | float) -> Array:
  """Returns log_t(u) of log u."""
  flat = t == 1
  r = jnp.where(flat, 1.0, 1 - t)
  return jnp.where(flat, log_u, jnp.expm1(r * log_u) / r)


def _log_tempered_exp(x: Array, t: Array | float) -> Array:
  """Returns log exp_t(x); -1e4, which is as good as −∞ and has no gradient, where exp_t(x) = 0."""
  flat = t == 1
  r = jnp.where(flat, 1.0, 1 - t)
  inside = r * x > -1
  return jnp.where(flat, x, jnp.where(inside, jnp.log1p(jnp.where(inside & ~flat, r * x, 0.0)) / r, -1e4))


def tempered_log_softmax(logits: Array, t: Array | float, iterations: int = 5) -> Array:
  """Returns log p with p = exp_t(logits − λ) and λ such that Σ_c p_c = 1 (Amid et al. 2019); t = 1: log softmax.

  λ is found by Newton's method on S(λ)^(1 − t) = 1, S = Σ_c exp_t(logits_c − λ). That function is concave and rises for
  t > 1, is convex and falls for t < 1: the iterates rise from max logits to λ and never pass it. For t = 1 the first
  step is exact.

  Args:
    logits: [..., C]. t: ≥ 0, traced. iterations: before the two that carry the gradient: one step from the solution has
      its first derivative, two have its second.
  """

  def nearer(logits: Array, shift: Array) -> Array:
    logp = _log_tempered_exp(logits - shift, t)
    total = jnp.exp(logp).sum(-1, keepdims=True)
    return shift + total * _tempered_log(jnp.log(total), 2 - t) / jnp.exp(t * logp).sum(-1, keepdims=True)

  logits = logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True))  # p is the same, and small numbers are exact
  fixed = jax.lax.stop_gradient(logits)
  shift = jnp.zeros_like(fixed[..., :1])
  for _ in range(iterations):
    shift = nearer(fixed, shift)
  shift = jax.lax.stop_gradient(shift)  # t may be differentiated, too
  for _ in range(2):
    shift = nearer(logits, shift)
  return _log_tempered_exp(logits - shift, t)


def bi_tempered(logits: Array, target: Array, t1: Array | float, t2: Array | float, iterations: int = 5) -> Array:
  """Returns the bi-tempered logistic loss per example (Amid et al. 2019); 0 for a row of zeros.

  Σ_c y_c (log_t1 y_c − log_t1 p_c) − (y_c^(2 − t1) − p_c^(2 − t1))/(2 − t1), p the tempered softmax of t2. With
  t1 = t2 = 1 it is KL(y‖p): cross-entropy, for a one-hot y.

  Args:
    logits: [..., B, C]. target: [B, C] or [..., B, C], one-hot or soft. t1: in [0, 1]. t2: ≥ 1 (≥ 0 works).
    iterations: of `tempered_log_softmax`.
  """
  logp = tempered_log_softmax(logits, t2, iterations)
  claimed = target > 0
  log_y = jnp.log(jnp.where(claimed, target, 1.0))
  fit = jnp.where(claimed, target * (_tempered_log(log_y, t1) - _tempered_log(logp, t1)), 0.0)
  power = jnp.exp((2 - t1) * logp) - jnp.where(claimed, jnp.exp((2 - t1) * log_y), 0.0)
  return jnp.where(claimed.any(-1), (fit + power / (2 - t1)).sum(-1), 0.0)


def forward_corrected(logits: Array, target: Array, matrix: Array) -> Array:
  """Returns −Σ_c target_c log (p·T)_c per example, T[true, given] (Patrini et al. 2017, theorem 2)."""
  given = jnp.matmul(jax.nn.softmax(logits), matrix, precision='highest')
  return -jnp.where(target == 0, 0.0, target * jnp.log(jnp.maximum(given, 1e-30))).sum(-1)


def backward_corrected(logits: Array, target: Array, inverse: Array) -> Array:
  """Returns Σ_c target_c (T⁻¹ ℓ)_c per example, ℓ = −log max(p, 1e-7) (Patrini et al. 2017, theorem 1)."""
  each = -jnp.maximum(jax.nn.log_softmax(logits), jnp.log(1e-7))
  return (target * jnp.matmul(each, inverse.T, precision='highest')).sum(-1)
