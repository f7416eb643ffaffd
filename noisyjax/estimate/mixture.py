"""Two-component mixture models of one value per row, fitted by EM: separates the losses of right and wrong labels.

`gaussian` is the mixture of DivideMix (Li et al. 2020, section 3.1) with scikit-learn's updates and stopping rule: it
stops when the mean log-likelihood changes by less than `tol`, or after `iterations` updates; `reg` is added to each
variance. Departure: it starts from the optimal 2-means split, found exactly by sorting; scikit-learn starts from a
random k-means.

`beta` is the mixture of Arazo et al. 2019 (section 3.1): weighted moments and 10 iterations. Values are scaled by their
5th and 95th percentiles, fitted between the two, and kept 1e-4 away from 0 and 1. Above the value where the posterior
of the large losses peaks, the posterior is held at its peak, as in the lookup table of the official code. Departure:
variances are at least 1e-4, because float32's log-gamma is too inaccurate for sharper peaks.

All functions are pure, and work under jit and vmap over networks. Rows outside `keep` are not fitted, but get a
posterior. Non-finite values are not fitted, and their posterior is 0 (wrong label). If all fitted values are equal,
their posterior is 1 (right label).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_EDGE = 1e-4  # distance kept from 0 and 1, where beta densities may be infinite


class Gaussian(NamedTuple):
  """Parameters of a two-component Gaussian mixture.

  Attributes:
    weight: mixture weights [2].
    mean: means [2].
    var: variances [2].
  """

  weight: Array
  mean: Array
  var: Array


class Beta(NamedTuple):
  """Parameters of a two-component beta mixture.

  Attributes:
    weight: mixture weights [2].
    a: first shape parameters [2].
    b: second shape parameters [2].
  """

  weight: Array
  a: Array
  b: Array


# Of expectation-maximisation: iterations done, change of the likelihood, the likelihood, the fit.
Step = tuple[Array, Array, Array, Gaussian]


# --- values to [0, 1] -----------------------------------------------------------------------------


def _scaled(values: Array, low: Array, high: Array) -> Array:
  """Returns (v − low) / (high − low), clipped to [0, 1], and 1 for NaN; if low = high, 1 above it and 0 elsewhere."""
  flat = ~(high - low > 1e-6 * jnp.maximum(jnp.abs(low), jnp.abs(high)))
  z = jnp.where(flat, values > high, (values - low) / jnp.where(flat, 1.0, high - low))
  return jnp.where(jnp.isnan(values), 1.0, jnp.clip(z, 0.0, 1.0))


def unit(values: Array, keep: Array) -> Array:
  """Returns values [N], min-max normalized over the finite values of the rows in `keep` and clipped to [0, 1]."""
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
  """M-step. `part` [2, N] holds the responsibilities of the components for each row, 0 for rows outside `keep`."""
  count = part.sum(-1) + 10 * jnp.finfo(values.dtype).eps  # keeps an empty component finite
  mean = (part * values).sum(-1) / count
  var = (part * (values - mean[:, None]) ** 2).sum(-1) / count + reg
  return Gaussian(count / count.sum(), mean, var)


def _split(values: Array, keep: Array) -> Array:
  """Returns the upper cluster of the optimal 2-means split, bool [N]: the split with the largest variance between."""
  total = jnp.maximum(keep.sum(), 1)
  mean = jnp.where(keep, values, 0.0).sum() / total
  ranked = jnp.sort(jnp.where(keep, values, jnp.inf))
  below = jnp.arange(1, len(values) + 1)  # rows in the lower cluster, if it ends at this row
  above = total - below
  sums = jnp.cumsum(jnp.where(below <= total, ranked - mean, 0.0))  # centered, to keep float32's precision
  between = jnp.where(above > 0, sums**2 / below * total / jnp.maximum(above, 1), -1.0)
  return values > ranked[between.argmax()]


def fit_gaussian(values: Array, keep: Array, iterations: int = 10, tol: float = 1e-2, reg: float = 5e-4) -> Gaussian:
  """Fits the values of the rows in `keep` without normalizing them (see `unit`); they must be finite."""
  total = jnp.maximum(keep.sum(), 1)
  upper = _split(values, keep)
  start = _gaussian_fitted(values, keep * jnp.stack([~upper, upper]).astype(values.dtype), reg)

  def unfinished(carry: Step) -> Array:
    done, change, *_ = carry
    return (done < iterations) & ~(jnp.abs(change) < tol)

  def update(carry: Step) -> Step:
    done, _, before, fit = carry
    logs = _gaussian_log(fit, values)
    likelihood = jnp.where(keep, jax.nn.logsumexp(logs, axis=0), 0.0).sum() / total
    fit = _gaussian_fitted(values, jnp.where(keep, jax.nn.softmax(logs, axis=0), 0.0), reg)
    return done + 1, likelihood - before, likelihood, fit

  far = jnp.array(jnp.inf, values.dtype)
  return jax.lax.while_loop(unfinished, update, (jnp.array(0), far, -far, start))[-1]


def gaussian(values: Array, keep: Array, iterations: int = 10, tol: float = 1e-2, reg: float = 5e-4) -> Array:
  """Returns float32 [N], the probability that a row belongs to the component with the smaller mean.

  Args:
    values: [N]; they are normalized before the fit.
    keep: bool [N], rows to fit.
    iterations: maximum number of updates, scikit-learn's `max_iter`.
    tol: change of the mean log-likelihood at which the fit stops, scikit-learn's `tol`.
    reg: added to each variance, scikit-learn's `reg_covar`.
  """
  fitted = keep & jnp.isfinite(values)
  z = unit(values, keep)
  fit = fit_gaussian(z, fitted, iterations, tol, reg)
  own = jax.nn.softmax(_gaussian_log(fit, z), axis=0)[fit.mean.argmin()]
  return _settled(own, z, values, fitted)


def noise_rate(loss: Array, keep: Array) -> Array:
  """Estimates the noise rate: the mean posterior of the rows in `keep` [N] that their labels are wrong."""
  wrong = jnp.where(keep, 1 - gaussian(loss, keep), 0.0)
  return wrong.sum() / jnp.maximum(keep.sum(), 1)


def _settled(posterior: Array, z: Array, values: Array, fitted: Array) -> Array:
  """Sets the posterior of fitted values that are all equal (z = 0) to 1, and that of non-finite values to 0."""
  flat = ~(fitted & (z > 0)).any()
  return jnp.where(jnp.isfinite(values), jnp.where(flat, 1 - z, posterior), 0.0).astype(jnp.float32)


# --- Betas ----------------------------------------------------------------------------------------


def _beta_density(fit: Beta, values: Array) -> Array:
  """Returns weight · density, [2, N]; values in (0, 1)."""
  weight, a, b = (p[:, None] for p in fit)
  logs = (a - 1) * jnp.log(values) + (b - 1) * jnp.log1p(-values) - jax.scipy.special.betaln(a, b)
  return jnp.maximum(weight * jnp.exp(logs), 1e-12)


def _beta_fitted(values: Array, part: Array) -> Beta:
  """M-step by weighted moments: a + b = (m(1 − m) − s²) / s², whose numerator is the mean of x(1 − x)."""
  count = jnp.maximum(part.sum(-1), 1e-12)
  average = lambda x: (part * x).sum(-1) / count
  mean = average(values)
  var = average((values - mean[:, None]) ** 2)
  both = average(values * (1 - values)) / jnp.maximum(var, 1e-4)
  both = jnp.maximum(both, 1e-6)  # for an empty component
  return Beta(count / count.sum(), jnp.maximum(mean, 1e-6) * both, (1 - mean) * both)


def fit_beta(values: Array, keep: Array, iterations: int = 10) -> Beta:
  """Fits the values in [0, 1] of the rows in `keep`; the second component starts at the larger values."""
  x = jnp.clip(values, _EDGE, 1 - _EDGE)
  start = Beta(*jnp.array([[0.5, 0.5], [1.0, 2.0], [2.0, 1.0]], x.dtype))

  def update(_: Array, fit: Beta) -> Beta:
    density = _beta_density(fit, x)
    return _beta_fitted(x, jnp.where(keep, density / density.sum(0), 0.0))

  return jax.lax.fori_loop(0, iterations, update, start)


def beta(values: Array, keep: Array, iterations: int = 10) -> Array:
  """Returns float32 [N], the probability that a row belongs to the component with the smaller mean.

  Args:
    values: [N]; they are normalized before the fit.
    keep: bool [N], rows to fit.
    iterations: number of updates.
  """
  fitted = keep & jnp.isfinite(values)
  low, high = jnp.nanquantile(jnp.where(fitted, values, jnp.nan), jnp.array([0.05, 0.95]))
  z = _scaled(values, low, high)
  inside = fitted & (values >= low) & (values <= high)
  fit = fit_beta(z, inside, iterations)
  large = (fit.a / (fit.a + fit.b)).argmax()

  def of_large(x: Array) -> Array:
    density = _beta_density(fit, jnp.clip(x, _EDGE, 1 - _EDGE))
    return density[large] / density.sum(0)

  grid = jnp.linspace(0, 1, 101)
  along = of_large(grid)
  beyond = z >= grid[along.argmax()]
  return _settled(1 - jnp.where(beyond, along.max(), of_large(z)), z, values, inside)
