"""Two-component mixtures of one number a row, by EM: which losses are those of wrong labels.

`gaussian` is the mixture of DivideMix (Li et al. 2020, section 3.1) with scikit-learn's updates and stopping rule:
until the mean log-likelihood changes by less than `tol`, at most `iterations` times; `reg` is added to each variance.
It starts from the best split in two (2-means, found exactly by sorting); scikit-learn starts from a random k-means.

`beta` is that of Arazo et al. 2019 (section 3.1): weighted moments, 10 iterations, values scaled by their 5th and 95th
percentiles, fitted between the two and kept 1e-4 away from 0 and 1. Beyond its peak the posterior of the large losses
stays there, as in the official code's lookup table. Departure: a variance is at least 1e-4; for sharper peaks float32's
log-gamma is too coarse.

Everything is pure, jit-able and vmap-able over networks. Rows that are not kept are not fitted, but have a posterior
too. A value that is not finite is not fitted, and its posterior is 0: wrong. Where all values are one, none is wrong.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

_EDGE = 1e-4  # beta densities may be infinite at 0 and 1


class Gaussian(NamedTuple):
  """Parameters, each [2]."""

  weight: Array
  mean: Array
  var: Array


class Beta(NamedTuple):
  """Parameters, each [2]."""

  weight: Array
  a: Array
  b: Array


# --- values to [0, 1] -----------------------------------------------------------------------------


def _scaled(values: Array, low: Array, high: Array) -> Array:
  """Returns (v − low) / (high − low) within [0, 1], NaN as 1; a step above `high` where the two are one number."""
  flat = ~(high - low > 1e-6 * jnp.maximum(jnp.abs(low), jnp.abs(high)))
  z = jnp.where(flat, values > high, (values - low) / jnp.where(flat, 1.0, high - low))
  return jnp.where(jnp.isnan(values), 1.0, jnp.clip(z, 0.0, 1.0))


def unit(values: Array, keep: Array) -> Array:
  """Returns values [N] min-max normalised over the kept rows; other rows are clipped to [0, 1]."""
  fitted = keep & jnp.isfinite(values)
  low = jnp.where(fitted, values, jnp.inf).min()
  high = jnp.where(fitted, values, -jnp.inf).max()
  return _scaled(values, low, jnp.where(fitted.any(), high, jnp.inf))


# --- Gaussians ------------------------------------------------------------------------------------


def _gaussian_log(fit: Gaussian, values: Array) -> Array:
  """Returns log(weight · density), [2, N]."""
  weight, mean, var = (p[:, None] for p in fit)
  return jnp.log(weight) - 0.5 * (jnp.log(2 * jnp.pi * var) + (values - mean) ** 2 / var)


def _gaussian_fitted(values: Array, part: Array, reg: Array | float) -> Gaussian:
  """M-step: part [2, N], each component's part of each row (0 for rows not kept)."""
  count = part.sum(-1) + 10 * jnp.finfo(values.dtype).eps  # an empty component stays finite
  mean = (part * values).sum(-1) / count
  var = (part * (values - mean[:, None]) ** 2).sum(-1) / count + reg
  return Gaussian(count / count.sum(), mean, var)


def _split(values: Array, keep: Array) -> Array:
  """Returns bool [N], the upper part of the 2-means optimum: the split with the largest variance between its parts."""
  total = jnp.maximum(keep.sum(), 1)
  mean = jnp.where(keep, values, 0.0).sum() / total
  ranked = jnp.sort(jnp.where(keep, values, jnp.inf))
  below = jnp.arange(1, len(values) + 1)  # rows in the lower part, if it ends here
  above = total - below
  sums = jnp.cumsum(jnp.where(below <= total, ranked - mean, 0.0))  # centred: float32 keeps its digits
  between = jnp.where(above > 0, sums**2 / below * total / jnp.maximum(above, 1), -1.0)
  return values > ranked[between.argmax()]


def fit_gaussian(values: Array, keep: Array, iterations=10, tol=1e-2, reg=5e-4) -> Gaussian:
  """Fits the kept rows' values as they are (see `unit`); all must be finite."""
  total = jnp.maximum(keep.sum(), 1)
  upper = _split(values, keep)
  start = _gaussian_fitted(values, keep * jnp.stack([~upper, upper]).astype(values.dtype), reg)

  def go_on(carry):
    done, change, *_ = carry
    return (done < iterations) & ~(jnp.abs(change) < tol)

  def update(carry):
    done, _, before, fit = carry
    logs = _gaussian_log(fit, values)
    likelihood = jnp.where(keep, jax.nn.logsumexp(logs, axis=0), 0.0).sum() / total
    fit = _gaussian_fitted(values, jnp.where(keep, jax.nn.softmax(logs, axis=0), 0.0), reg)
    return done + 1, likelihood - before, likelihood, fit

  far = jnp.array(jnp.inf, values.dtype)
  return jax.lax.while_loop(go_on, update, (jnp.array(0), far, -far, start))[-1]


def gaussian(values: Array, keep: Array, iterations=10, tol=1e-2, reg=5e-4) -> Array:
  """Returns float32 [N], the probability that a row belongs to the component with the smaller mean.

  Args:
    values: [N], normalised here. keep: bool [N], rows to fit. iterations, tol, reg: as scikit-learn's max_iter, tol and
      reg_covar.
  """
  fitted = keep & jnp.isfinite(values)
  z = unit(values, keep)
  fit = fit_gaussian(z, fitted, iterations, tol, reg)
  own = jax.nn.softmax(_gaussian_log(fit, z), axis=0)[fit.mean.argmin()]
  return _settled(own, z, values, fitted)


def noise_rate(loss: Array, keep: Array) -> Array:
  """Returns the part of the kept rows [N] that a mixture of Gaussians of their losses takes for wrong."""
  wrong = jnp.where(keep, 1 - gaussian(loss, keep), 0.0)
  return wrong.sum() / jnp.maximum(keep.sum(), 1)


def _settled(posterior: Array, z: Array, values: Array, fitted: Array) -> Array:
  """Where all fitted values are one (z is 0) they are clean; what is not finite is wrong."""
  flat = ~(fitted & (z > 0)).any()
  return jnp.where(jnp.isfinite(values), jnp.where(flat, 1 - z, posterior), 0.0).astype(jnp.float32)


# --- Betas ----------------------------------------------------------------------------------------


def _beta_density(fit: Beta, values: Array) -> Array:
  """Returns weight · density, [2, N]; values in (0, 1)."""
  weight, a, b = (p[:, None] for p in fit)
  logs = (a - 1) * jnp.log(values) + (b - 1) * jnp.log1p(-values) - jax.scipy.special.betaln(a, b)
  return jnp.maximum(weight * jnp.exp(logs), 1e-12)


def _beta_fitted(values: Array, part: Array) -> Beta:
  """M-step by weighted moments: a + b = (m(1 − m) − s²)/s², whose numerator is the mean of x(1 − x)."""
  count = jnp.maximum(part.sum(-1), 1e-12)
  average = lambda x: (part * x).sum(-1) / count
  mean = average(values)
  var = average((values - mean[:, None]) ** 2)
  both = average(values * (1 - values)) / jnp.maximum(var, 1e-4)
  both = jnp.maximum(both, 1e-6)  # of an empty component
  return Beta(count / count.sum(), jnp.maximum(mean, 1e-6) * both, (1 - mean) * both)


def fit_beta(values: Array, keep: Array, iterations=10) -> Beta:
  """Fits the kept rows' values in [0, 1]; the second component starts as that of the larger values."""
  x = jnp.clip(values, _EDGE, 1 - _EDGE)
  start = Beta(*jnp.array([[0.5, 0.5], [1.0, 2.0], [2.0, 1.0]], x.dtype))

  def update(_, fit):
    density = _beta_density(fit, x)
    return _beta_fitted(x, jnp.where(keep, density / density.sum(0), 0.0))

  return jax.lax.fori_loop(0, iterations, update, start)


def beta(values: Array, keep: Array, iterations=10) -> Array:
  """Returns float32 [N], the probability that a row belongs to the component with the smaller mean.

  Args:
    values: [N], normalised here. keep: bool [N], rows to fit.
  """
  fitted = keep & jnp.isfinite(values)
  low, high = jnp.nanquantile(jnp.where(fitted, values, jnp.nan), jnp.array([0.05, 0.95]))
  z = _scaled(values, low, high)
  inside = fitted & (values >= low) & (values <= high)
  fit = fit_beta(z, inside, iterations)
  large = (fit.a / (fit.a + fit.b)).argmax()

  def of_large(x):
    density = _beta_density(fit, jnp.clip(x, _EDGE, 1 - _EDGE))
    return density[large] / density.sum(0)

  grid = jnp.linspace(0, 1, 101)
  along = of_large(grid)
  beyond = z >= grid[along.argmax()]
  return _settled(1 - jnp.where(beyond, along.max(), of_large(z)), z, values, inside)
