"""Mixtures of losses: against scikit-learn, against a float64 reference, and where there is nothing to fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.mixture import GaussianMixture

from noisyjax.estimate import mixture

N = 4000
GAUSSIAN, BETA, UNIT = jax.jit(mixture.gaussian), jax.jit(mixture.beta), jax.jit(mixture.unit)
BOTH = pytest.mark.parametrize('posterior', [GAUSSIAN, BETA], ids=['gaussian', 'beta'])
ALL = jnp.ones(N, bool)


def planted(clean, low, high, seed=0):
  """Losses, the part `clean` of them normal around low = (mean, std), the others around high; and which are clean."""
  rng = np.random.default_rng(seed)
  is_clean = rng.random(N) < clean
  values = np.where(is_clean, rng.normal(*low, N), rng.normal(*high, N))
  return np.abs(values).astype(np.float32), is_clean


PLANTED = [
  (0.5, (0.3, 0.2), (3.0, 0.5)),
  (0.8, (0.1, 0.1), (2.0, 0.7)),
  (0.2, (0.5, 0.3), (2.5, 0.4)),
  (0.95, (0.2, 0.1), (4.0, 1.0)),
]


# --- Gaussians ------------------------------------------------------------------------------------


@pytest.mark.parametrize('iterations, tol', [(10, 1e-2), (300, 1e-5)])
@pytest.mark.parametrize('clean, low, high', PLANTED)
def test_gaussians_as_scikit_learn_fits_them(clean, low, high, iterations, tol):
  values, _ = planted(clean, low, high)
  z = np.asarray(UNIT(values, ALL), np.float64)[:, None]
  other = GaussianMixture(2, max_iter=iterations, tol=tol, reg_covar=5e-4, random_state=0).fit(z)
  assert other.converged_
  want = other.predict_proba(z)[:, other.means_.argmin()]
  got = np.asarray(GAUSSIAN(values, ALL, iterations, tol))
  assert ((got > 0.5) == (want > 0.5)).mean() >= 0.999
  assert_allclose(got, want, atol=2e-3)
  fit = mixture.fit_gaussian(jnp.asarray(z[:, 0], jnp.float32), ALL, iterations, tol)
  order = other.means_[:, 0].argsort()
  assert_allclose(fit.mean, other.means_[order, 0], atol=2e-3)
  assert_allclose(fit.weight, other.weights_[order], atol=2e-3)
  assert_allclose(fit.var, other.covariances_[order, 0, 0], rtol=1e-2)


def test_gaussians_make_at_most_so_many_updates():
  values, _ = planted(0.6, (0.5, 0.4), (1.5, 0.5))
  z = UNIT(values, ALL)
  one, two, many = (mixture.fit_gaussian(z, ALL, i, 0.0) for i in (1, 2, 50))
  reference = GaussianMixture(
    2,
    max_iter=1,
    tol=0.0,
    reg_covar=5e-4,
    weights_init=np.asarray(one.weight),
    means_init=np.asarray(one.mean)[:, None],
    precisions_init=1 / np.asarray(one.var)[:, None, None],
  )
  with pytest.warns(UserWarning):  # it did not converge
    reference.fit(np.asarray(z)[:, None])
  assert_allclose(two.mean, reference.means_[:, 0], rtol=1e-4)
  assert abs(two.mean - many.mean).max() > 1e-3


def test_the_start_is_the_best_split_of_all():
  x = np.sort(np.random.default_rng(3).normal(size=60)).astype(np.float32)
  keep = np.arange(60) % 5 != 0
  kept = x[keep]
  costs = [kept[:i].var() * i + kept[i:].var() * (len(kept) - i) for i in range(1, len(kept))]
  assert_array_equal(mixture._split(x, keep), x > kept[int(np.argmin(costs))])


# --- Betas ----------------------------------------------------------------------------------------


def beta_reference(z, iterations=10):
  """EM with weighted moments in float64; z in (0, 1)."""
  a, b, weight = np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([0.5, 0.5])
  for _ in range(iterations):
    density = np.maximum(weight[:, None] * stats.beta.pdf(z, a[:, None], b[:, None]), 1e-12)
    part = density / density.sum(0)
    mean = (part * z).sum(1) / part.sum(1)
    var = (part * (z - mean[:, None]) ** 2).sum(1) / part.sum(1)
    a = mean * (mean * (1 - mean) / var - 1)
    b = a * (1 - mean) / mean
    weight = part.sum(1) / part.sum()
  return weight, a, b


@pytest.mark.parametrize('clean, low, high', PLANTED)
def test_betas_as_the_reference_fits_them(clean, low, high):
  values, _ = planted(clean, low, high)
  bottom, top = np.percentile(values, [5, 95])
  inside = (values >= bottom) & (values <= top)
  z = np.clip((values.astype(np.float64) - bottom) / (top - bottom), 1e-4, 1 - 1e-4)
  weight, a, b = beta_reference(z[inside])
  fit = mixture.fit_beta(jnp.asarray(z, jnp.float32), jnp.asarray(inside))
  assert_allclose(fit.weight, weight, rtol=2e-3)
  assert_allclose(fit.a, a, rtol=5e-3)
  assert_allclose(fit.b, b, rtol=5e-3)
  density = lambda x: weight[:, None] * stats.beta.pdf(x, a[:, None], b[:, None])
  grid = np.clip(np.linspace(0, 1, 101), 1e-4, 1 - 1e-4)
  along = density(grid)[1] / density(grid).sum(0)
  large = np.where(z >= grid[along.argmax()], along.max(), density(z)[1] / density(z).sum(0))
  got = np.asarray(BETA(values, ALL))
  assert_allclose(got, 1 - large, atol=5e-3)
  # What is surely wrong stays so: the largest losses are no cleaner than the ones before.
  ranked = got[values.argsort()]
  assert ranked[-50:].max() <= ranked[: -N // 20].min() + 1e-3


@BOTH
def test_two_heaps_are_told_apart_and_counted(posterior):
  values, is_clean = planted(*PLANTED[0])
  found = posterior(values, ALL)
  assert ((np.asarray(found) > 0.5) == is_clean).mean() > 0.99
  assert_allclose(1 - found.mean(), 0.5, atol=0.02)


# --- where there is little or nothing to fit ------------------------------------------------------


@BOTH
def test_rows_not_kept_are_judged_but_not_fitted(posterior):
  values, is_clean = planted(*PLANTED[0])
  keep = np.arange(N) % 2 == 0
  found = posterior(values, keep)
  assert ((np.asarray(found) > 0.5) == is_clean).mean() > 0.99
  poisoned = np.where(keep, values, np.where(np.arange(N) % 4 == 1, np.float32(1e9), np.nan))
  other = np.asarray(posterior(poisoned, keep))
  assert_array_equal(other[keep], np.asarray(found)[keep])
  assert (other[~keep] < 0.5).all()


@BOTH
def test_values_that_are_not_finite_are_wrong_and_move_nothing(posterior):
  values, _ = planted(*PLANTED[0])
  want = np.asarray(posterior(values, jnp.arange(N) >= 3))
  values[:3] = np.nan, np.inf, -np.inf
  found = np.asarray(posterior(values, ALL))
  assert_array_equal(found[3:], want[3:])
  assert_array_equal(found[:3], 0.0)
  assert_array_equal(posterior(np.full(N, np.nan, np.float32), ALL), 0.0)


@BOTH
@pytest.mark.parametrize('value', [0.0, 2.3, 1e-30, 1e30])
def test_equal_losses_are_all_clean(posterior, value):
  found = posterior(np.full(N, value, np.float32), ALL)
  assert_array_equal(found, 1.0)
  assert (found == 1).all()


@BOTH
def test_small_sets_and_nobody_are_finite(posterior):
  values, _ = planted(*PLANTED[0])
  assert_array_equal(posterior(values, jnp.zeros(N, bool)), 1.0)
  for kept in (1, 2, 3):
    assert np.isfinite(posterior(values, jnp.arange(N) < kept)).all()
  outlier = np.where(np.arange(N) == 7, 5.0, 1.0).astype(np.float32)
  found = np.asarray(posterior(outlier, ALL))
  assert found[7] < 0.5 and (np.delete(found, 7) > 0.5).all()


def test_unit_spans_the_kept_rows():
  values = jnp.array([3.0, 1.0, 2.0, 9.0, -4.0, jnp.nan])
  assert_allclose(UNIT(values, jnp.array([1, 1, 1, 0, 0, 1], bool)), [1, 0, 0.5, 1, 0, 1])


def test_networks_may_be_vmapped():
  values = jnp.stack([planted(*p)[0] for p in PLANTED[:2]])
  both = jax.vmap(mixture.gaussian, (0, None))(values, ALL)
  assert_allclose(both, [GAUSSIAN(v, ALL) for v in values], atol=1e-6)
