"""Robust losses (GCE, SCE, MAE, bootstrapping, bi-tempered) against references and the text of the papers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  EPOCH,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  notices,
  phase_of,
  rows_of,
  softmax,
  without,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import brentq

import tiny
from noisyjax.engine import losses, train
from noisyjax.engine.augment.mixup import mixup_pairs
from noisyjax.engine.spec import run_keys
from noisyjax.strategies import bi_tempered, bootstrap, gce, mae, sce
from tiny import BATCH, CLASSES, ROOT

P = np.array([[0.7, 0.2, 0.1]] * 2)  # the research note's prediction, asked for labels 0 and 1
LOGITS = jnp.log(jnp.asarray(P, jnp.float32))
TARGET = jnp.eye(3)[jnp.array([0, 1])]


# --- references -----------------------------------------------------------------------------------


def slope(loss, logits, step=1e-6):
  """Gradient of Σ loss(logits) [..., B] by the logits [..., B, C]: central differences, in float64."""
  moves = [step * e for e in np.eye(logits.shape[-1])]
  return np.stack([(loss(logits + m) - loss(logits - m)) / (2 * step) for m in moves], -1)


def gce_ref(z, t, q=0.7):
  return (t * (1 - softmax(z) ** q) / q).sum(-1)


def sce_ref(z, t, alpha=0.1, beta=1.0):
  return alpha * cross_entropy(z, t) - beta * (softmax(z) * np.log(np.maximum(t, 1e-4))).sum(-1)


def mae_ref(z, t):
  return np.abs(softmax(z) - t).sum(-1)


def soft_ref(z, t, beta=0.9):
  p = softmax(z)
  return -((beta * t + (1 - beta) * p) * np.log(p)).sum(-1)


def hard_ref(z, t, beta=0.8):
  return cross_entropy(z, beta * t + (1 - beta) * np.eye(z.shape[-1])[z.argmax(-1)])


def exp_t(x, t):
  return np.exp(x) if t == 1 else np.maximum(1 + (1 - t) * x, 0) ** (1 / (1 - t))


def log_t(u, t):
  return np.log(u) if t == 1 else (u ** (1 - t) - 1) / (1 - t)


def tempered_softmax_ref(z, t):
  """One root a row, by bracketing."""

  def one(row):
    above = row.max() + 1.0
    while exp_t(row - above, t).sum() > 1:
      above += above - row.max()
    return exp_t(row - brentq(lambda s: exp_t(row - s, t).sum() - 1, row.max(), above, xtol=1e-13, rtol=1e-14), t)

  return np.apply_along_axis(one, -1, np.asarray(z, np.float64))


def bi_tempered_ref(z, y, t1=0.8, t2=1.2):
  p = tempered_softmax_ref(z, t2)
  fit = np.where(y > 0, y * (log_t(np.where(y > 0, y, 1.0), t1) - log_t(np.where(p > 0, p, 1e-300), t1)), 0.0)
  return (fit - (y ** (2 - t1) - p ** (2 - t1)) / (2 - t1)).sum(-1)


# --- one step of the engine -----------------------------------------------------------------------

BUILT = {
  'gce': (gce.Strategy.build(), gce_ref),
  'sce': (sce.Strategy.build(), sce_ref),
  'mae': (mae.Strategy.build(), mae_ref),
  'bootstrap': (bootstrap.Strategy.build(beta=0.9), soft_ref),
  'bootstrap_hard': (bootstrap.Strategy.build(beta=0.8, hard=True), hard_ref),
  'bi_tempered': (bi_tempered.Strategy.build(), bi_tempered_ref),
}


def check(strategy, reference, select=None):
  """One step of epoch 6 against the reference; `select`: networks → bool [N], rows whose loss is not the constant."""
  phase, previous, state = entered(strategy, steps=2)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  net = state.params['net']
  z = logits_of(net, PIXELS[index])
  per, error = reference(z, GIVEN[index]), slope(lambda a: reference(a, GIVEN[index]), z)
  if select is not None:
    kept = select(previous.params['net'])[index]
    assert 0 < kept.sum() < BATCH
    per = np.where(kept, per, (1 - 0.5**0.7) / 0.7)
    error = error * kept[:, None]
    assert_allclose(tiny.mean(metrics, 'chosen'), kept.mean(), rtol=1e-6)
  assert_descended(new, *descended(net, PIXELS[index], error / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), per.mean(), rtol=1e-4)


@pytest.mark.parametrize('name', BUILT)
def test_one_step_as_the_reference_takes_it_and_no_other(name):
  strategy, reference = BUILT[name]
  check(strategy, reference)
  with pytest.raises(AssertionError):
    check(without(strategy, 'loss'), reference)


def sure(net):
  """Rows whose label has a probability above 0.5 under the networks between the epochs."""
  return (softmax(logits_of(net, PIXELS)[0]) * GIVEN).sum(-1) > 0.5


def test_truncated_gce_as_the_reference_takes_it_and_no_other():
  strategy = gce.Strategy.build(truncate=True, start=EPOCH)
  notices(functools.partial(check, reference=gce_ref, select=sure), strategy)


# --- worked values, links between losses, and what must cost nothing ------------------------------


def test_worked_values_of_the_research_note():
  assert_allclose(losses.generalized_cross_entropy(LOGITS, TARGET, 0.7), [0.3156344, 0.9655267], rtol=1e-6)
  at_k = jnp.log(jnp.array([[0.5, 0.5]]))
  assert_allclose(losses.generalized_cross_entropy(at_k, jnp.eye(2)[:1], 0.7), 0.5491826, rtol=1e-6)
  alpha, beta = 0.1, 1.0
  both = alpha * losses.cross_entropy(LOGITS, TARGET) + beta * losses.reverse_cross_entropy(LOGITS, TARGET)
  assert_allclose(both[0], 2.7987696, rtol=1e-6)
  assert_allclose(losses.absolute_error(LOGITS, TARGET), [0.6, 1.6], rtol=1e-6)


def random_logits(classes=CLASSES, scale=3.0, rows=6, seed=0):
  rng = np.random.default_rng(seed)
  z = rng.normal(size=(2, rows, classes)) * scale  # [M, B, C]
  return jnp.asarray(z, jnp.float32), rng.dirichlet(np.ones(classes), rows), np.eye(classes)[np.arange(rows) % classes]


def test_links_between_the_losses():
  z, soft, hard = random_logits()
  ce = losses.cross_entropy(z, hard)
  assert_allclose(losses.generalized_cross_entropy(z, hard, 1e-5), ce, rtol=1e-3)
  assert_allclose(losses.generalized_cross_entropy(z, hard, 1.0), losses.absolute_error(z, hard) / 2, rtol=1e-5)
  assert_allclose(losses.bootstrapped(z, soft, 1.0), losses.cross_entropy(z, soft), rtol=1e-6)
  assert_allclose(losses.reverse_cross_entropy(z, hard), -np.log(1e-4) * losses.absolute_error(z, hard) / 2, rtol=1e-5)
  assert_allclose(losses.bi_tempered(z, hard, 1.0, 1.0), ce, rtol=1e-4, atol=1e-6)
  entropy = -(soft * np.log(soft)).sum(-1)
  assert_allclose(losses.bi_tempered(z, soft, 1.0, 1.0), losses.cross_entropy(z, soft) - entropy, rtol=1e-4, atol=1e-6)


PER = {
  'gce': lambda z, t: losses.generalized_cross_entropy(z, t, 0.7),
  'reverse': losses.reverse_cross_entropy,
  'mae': losses.absolute_error,
  'soft': lambda z, t: losses.bootstrapped(z, t, 0.9),
  'hard': lambda z, t: losses.bootstrapped(z, t, 0.8, True),
  'bi_tempered': lambda z, t: losses.bi_tempered(z, t, 0.8, 1.2),
  'finite_support': lambda z, t: losses.bi_tempered(z, t, 0.5, 0.7),
}


@pytest.mark.parametrize('name', PER)
def test_extreme_logits_stay_finite_and_an_unlabeled_row_pulls_at_nothing(name):
  z = jnp.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [-1e4, 1e4, 3.0], [200.0, 0.0, -200.0]])
  target = jnp.eye(3)[jnp.array([1, 2, 1, 0])].at[1].set(0.0)
  per, grad = jax.value_and_grad(lambda a: (out := PER[name](a, target)).sum() + 0 * out.sum())(z)
  assert np.isfinite(per) and np.isfinite(grad).all()
  assert_array_equal(PER[name](z, target)[1], 0.0)
  assert_array_equal(grad[1], 0.0)


# --- bi-tempered ----------------------------------------------------------------------------------


@pytest.mark.parametrize('t2', [0.5, 1.0, 1.0001, 1.2, 2.0, 4.0])
@pytest.mark.parametrize('classes', [3, 100])
def test_tempered_softmax_against_a_root_finder(t2, classes):
  for scale in (0.1, 5.0, 50.0):
    z, _, _ = random_logits(classes, scale)
    got = np.exp(losses.tempered_log_softmax(z, np.float32(t2)))
    assert_allclose(got, tempered_softmax_ref(z, float(np.float32(t2))), rtol=2e-4, atol=2e-6)
    assert_allclose(got.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize('t1, t2', [(0.8, 1.2), (0.5, 4.0), (1.0, 1.5), (0.0, 1.0)])
def test_bi_tempered_and_its_gradient_against_a_root_finder(t1, t2):
  z, soft, hard = random_logits(5)
  for y in (soft, hard):
    assert_allclose(losses.bi_tempered(z, y, t1, t2), bi_tempered_ref(z, y, t1, t2), rtol=1e-4, atol=2e-6)
    grad = jax.jit(jax.grad(lambda a, y=y: losses.bi_tempered(a, y, t1, t2).sum()))(z)
    want = slope(lambda a, y=y: bi_tempered_ref(a, y, t1, t2), np.asarray(z, np.float64))
    assert_allclose(grad, want, rtol=1e-3, atol=1e-5)


def test_bi_tempered_is_bounded_and_has_a_second_derivative():
  z = jnp.array([[0.0, 1e4, 0.0]])
  assert float(losses.bi_tempered(z, jnp.eye(3)[:1], 0.8, 1.2)[0]) <= 1 / 0.2 + 1e-3  # 1/(1 − t1)
  z, _, hard = random_logits(4, scale=1.0, rows=1)
  grad = jax.jit(jax.grad(lambda a: losses.bi_tempered(a, hard, 0.8, 1.2).sum()))
  move, h = jnp.ones_like(z).at[..., 1].set(-2.0), 1e-2
  got = jax.jit(jax.grad(lambda a: (grad(a) * move).sum()))(z)  # reverse over reverse: a Hessian is symmetric
  assert_allclose(got, (grad(z + h * move) - grad(z - h * move)) / (2 * h), rtol=2e-2, atol=1e-3)


def test_bi_tempered_votes_with_its_own_softmax():
  z, _, _ = random_logits()
  got = bi_tempered.Strategy.build(t2=2.0).probs(z)
  assert_allclose(got, tempered_softmax_ref(z, 2.0).mean(0), rtol=1e-4, atol=1e-6)
  assert np.abs(got - softmax(np.asarray(z)).mean(0)).max() > 0.01


# --- truncation -----------------------------------------------------------------------------------


def refreshed(phase, state, epoch):
  return train.refreshed(
    phase, state.replace(phase_epoch=jnp.array(epoch, jnp.int32)), jnp.asarray(DATA.images), ROOT
  ).targets.trust[0]


def test_truncation_is_decided_at_its_start_and_every_so_often_and_stays_in_between():
  strategy = gce.Strategy.build(truncate=True, start=4.0, every=3.0)
  phase, _, state = entered(strategy, epoch=0, steps=2)
  old = jnp.asarray(np.arange(48) % 2, jnp.float32)[None]
  state = state.replace(targets=state.targets.replace(trust=old))
  want = sure(state.params['net']) & LABELED
  for epoch in (0, 3):
    assert_array_equal(refreshed(phase, state, epoch), 1.0)
  for epoch in (4, 7, 10):
    assert_array_equal(refreshed(phase, state, epoch), want)
  for epoch in (5, 6, 8):
    assert_array_equal(refreshed(phase, state, epoch), old[0])


def test_a_network_that_is_sure_of_nothing_prunes_nothing():
  strategy = gce.Strategy.build(truncate=True, k=1.0, start=0.0)
  *_, state = entered(strategy)
  assert_array_equal(state.targets.trust[0], LABELED)


def test_plain_gce_scores_nothing_and_truncated_gce_refuses_mixup():
  plain, truncated = gce.Strategy.build(), gce.Strategy.build(truncate=True)
  assert not plain.refreshes and not plain.scores and plain.mix == 'target'
  assert truncated.refreshes and truncated.scores and truncated.mix is None
  assert (
    bootstrap.Strategy.mix == bi_tempered.Strategy.mix == 'target' and sce.Strategy.mix == mae.Strategy.mix == 'loss'
  )


# --- mixup ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ['gce', 'sce'])
def test_mixup_mixes_what_the_paper_allows(name):
  """Of labels: the loss of a mixed image is λ of the one label's loss and 1 − λ of the other's."""
  strategy, reference = BUILT[name]
  phase = phase_of(strategy)
  spec = tiny.spec(1, tiny.Linear(CLASSES), mixup=True)
  phase = tiny.replaced(phase, spec=spec)
  state = tiny.start(phase, DATA)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  key = jax.random.fold_in(jax.random.fold_in(run_keys(ROOT).views, 0), 0)  # epoch 0, stream 0
  lam, partner = mixup_pairs(jax.random.fold_in(key, ~jnp.int32(0)), np.float32(1.0), BATCH)
  lam, partner = float(lam), np.asarray(partner)
  pixels = lam * PIXELS[index] + (1 - lam) * PIXELS[index][partner]
  target = GIVEN[index]
  mixed = lambda z: lam * reference(z, target) + (1 - lam) * reference(z, target[partner])
  net = state.params['net']
  z = logits_of(net, pixels)
  assert 0.05 < lam < 0.95 and IN[index].all()
  assert_descended(new, *descended(net, pixels, slope(mixed, z) / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), mixed(z).mean(), rtol=1e-4)
