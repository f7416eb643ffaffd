"""Methods that select rows by loss, disagreement or margin: each against float64 numpy, and what the papers promise."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  EYE,
  GIVEN,
  LABELED,
  PIXELS,
  Given,
  assert_descended,
  cross_entropy,
  descended,
  draw,
  entered,
  logits_of,
  loss_of,
  low_part,
  mean_error,
  notices,
  phase_of,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from test_mixture import beta_reference

import tiny
from noisyjax.engine import between_epochs, train
from noisyjax.strategies import co_teaching, co_teaching_plus, cores2, jocor, loss_filter
from noisyjax.system.errors import UserError
from tiny import BATCH, CLASSES, ROOT, ROWS


def first_step(strategy, rows=LABELED, **fields):
  """One step of the engine: the state before and after, the batch's rows, their logits [M, B, C] and its metrics."""
  phase, _, state = entered(strategy, **fields)
  index = rows_of(rows, state)
  new, metrics = tiny.advance(phase, state, DATA)
  return state, new, index, logits_of(state.params['net'], PIXELS[index]), metrics


def taken(state, new, index, error):
  assert_descended(new, *descended(state.params['net'], PIXELS[index], error))


def lowest(values, rows, count):
  """bool [B]: the `count` of these rows with the smallest values."""
  out = np.zeros(len(values), bool)
  out[sorted(rows, key=lambda i: values[i])[:count]] = True
  return out


# --- co-teaching+ ---------------------------------------------------------------------------------

PLUS = co_teaching_plus.Strategy.build(forget=0.5, ramp=10.0, warmup=3.0)


def plus_choice(logits, target, kept=2 / 3):
  """What each network is to learn, bool [2, B]: epoch 6 of a ramp of 10 and τ = 0.5 keeps 2/3 of the disagreement."""
  per = cross_entropy(logits, target)
  guess = logits.argmax(-1)
  rows = np.flatnonzero(guess[0] != guess[1])
  count = int(kept * len(rows) + 1e-6) or len(rows)
  return np.stack([lowest(per[1 - m], rows, count) for m in (0, 1)])


def check_plus(strategy):
  state, new, index, logits, metrics = first_step(strategy)
  chosen = plus_choice(logits, GIVEN[index])
  assert 2 < chosen[0].sum() < BATCH and (chosen[0] != chosen[1]).any()
  taken(state, new, index, mean_error(logits, GIVEN[index], chosen))
  assert_allclose(tiny.mean(metrics, 'chosen'), chosen.mean(), rtol=1e-5)


def test_co_teaching_plus_takes_the_references_step():
  notices(check_plus, PLUS)


def test_co_teaching_plus_warms_up_as_co_teaching():
  arguments = draw(64)
  plus, plain = (loss_of(s, *arguments, 2)[2] for s in (PLUS, co_teaching.Strategy.build(forget=0.5, ramp=10.0)))
  assert_array_equal(plus, plain)
  assert not np.array_equal(loss_of(PLUS, *arguments, 3)[2], plain)


def test_co_teaching_plus_counts_row_0_and_takes_the_softmax_once():
  logits = np.zeros((2, 4, CLASSES), np.float32)
  logits[0, :, 0] = logits[1, 1:, 0] = logits[1, 0, 1] = 2.0  # they disagree about row 0 alone
  _, metrics, grad = loss_of(PLUS, jnp.asarray(logits), jnp.zeros(4, jnp.int32), jnp.ones(4), 20)
  # floor(0.5 · 1) = 0 rows: all that disagree are kept.
  assert_array_equal(metrics['chosen'], [[True, False, False, False]] * 2)
  assert_allclose(grad[:, 0], softmax(np.float64(logits[:, 0])) - EYE[0], rtol=1e-5)
  assert_array_equal(grad[:, 1:], 0)


def test_co_teaching_plus_learns_nothing_without_disagreement():
  logits, label, weight = draw(BATCH)
  same = jnp.stack([logits[0], logits[0]])
  loss, metrics, grad = loss_of(PLUS, same, label, weight, 20)
  assert loss == 0 and not metrics['chosen'].any() and not np.asarray(grad).any()
  # Rows that do not count may disagree as they like.
  loss, metrics, grad = loss_of(PLUS, same.at[1, 3].set(-same[0, 3]), label, weight.at[3].set(0.0), 20)
  assert loss == 0 and not metrics['chosen'].any() and not np.asarray(grad).any()


def test_official_co_teaching_plus_learns_whole_batches_without_disagreement_early_in_the_run():
  logits, label, weight = draw(BATCH)
  same = jnp.stack([logits[0], logits[0]])
  official = dataclasses.replace(PLUS, warmup=0.0, official=True)
  for epoch, tick, learns in [(4, 999, True), (4, 1000, False), (79, 62, True), (79, 63, False)]:  # epochs of the run
    loss, _, grad = loss_of(official, same, label, weight, 0, epoch=epoch, tick=tick)
    assert bool(loss > 0) == bool(np.asarray(grad).any()) == learns


@pytest.mark.parametrize('forget, kept', [(0.3, 70), (0.0, 100), (0.29, 71)])
def test_co_teaching_plus_floors_without_float_dust(forget, kept):
  label = jnp.zeros(128, jnp.int32)
  logits = jnp.stack([jax.random.normal(jax.random.key(0), (128, CLASSES)).at[:, 0].add(9.0)] * 2)
  logits = logits.at[1, :100, 1].set(99.0)  # they disagree about 100 rows
  strategy = co_teaching_plus.Strategy.build(forget=forget, ramp=1.0, warmup=0.0)
  assert_array_equal(loss_of(strategy, logits, label, jnp.ones(128), 5)[1]['chosen'].sum(-1), kept)


# --- JoCoR ----------------------------------------------------------------------------------------

JOCOR = jocor.Strategy.build(forget=0.5, ramp=10.0, agree=0.6)


def joint(logits, target, agree=0.6):
  """The joint loss [B], with the divergences as the paper writes them."""
  p = softmax(logits)
  kl = [(p[m] * np.log(p[m] / p[1 - m])).sum(-1) for m in (0, 1)]
  return (1 - agree) * cross_entropy(logits, target).sum(0) + agree * (kl[0] + kl[1])


def joint_gradient(logits, target, chosen):
  """By central differences, float64."""
  loss = lambda z: (joint(z, target) * chosen).sum() / chosen.sum()
  out = np.zeros_like(logits)
  for i in np.ndindex(logits.shape):
    step = np.zeros_like(logits)
    step[i] = 1e-5
    out[i] = (loss(logits + step) - loss(logits - step)) / 2e-5
  return out


def check_jocor(strategy):
  state, new, index, logits, metrics = first_step(strategy)
  per = joint(logits, GIVEN[index])
  chosen = lowest(per, range(BATCH), 10)  # floor(16 (1 - 0.5 6/9))
  taken(state, new, index, joint_gradient(logits, GIVEN[index], chosen))
  assert_allclose(tiny.mean(metrics, 'objective'), per[chosen].mean(), rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'chosen'), 10 / 16, rtol=1e-5)


def test_jocor_takes_the_references_step():
  notices(check_jocor, JOCOR)


def test_jocor_keeps_as_many_rows_as_co_teaching_and_the_same_for_both():
  want = [128, 125, 122, 119, 116, 113, 110, 108, 105, 102, 102, 102]
  strategy = jocor.Strategy.build(forget=0.2, ramp=10.0)
  found = [loss_of(strategy, *draw(128), epoch) for epoch in range(len(want))]
  assert_array_equal([f[1]['chosen'].sum() for f in found], want)
  moved = np.asarray(found[-1][2]).any(-1)
  assert_array_equal(moved, np.stack([found[-1][1]['chosen']] * 2))


def test_jocor_networks_that_agree_learn_cross_entropy_alone():
  logits, label, weight = draw(BATCH)
  same = jnp.stack([logits[0], logits[0]])
  loss, _, grad = loss_of(jocor.Strategy.build(forget=0.0, agree=0.6), same, label, weight, 9)
  z = np.float64(same)
  assert_allclose(loss, 0.4 * 2 * cross_entropy(z[0], EYE[label]).mean(), rtol=1e-5)
  assert_allclose(grad, 0.4 * (softmax(z) - EYE[label]) / BATCH, atol=1e-6)


# --- CORES² ---------------------------------------------------------------------------------------

CORES = cores2.Strategy.build(wait=1.0, rise=9.0, sieve=3.0)


def cores_error(logits, target, prior, beta, chosen):
  """Gradient by logits of Σ v (ℓ − β Σ π ℓ_c) / ((1 + β) Σ v): Σ π ℓ_c is the cross-entropy against π."""
  error = (softmax(logits) - target) - beta * (softmax(logits) - prior)
  return error * (chosen / chosen.sum())[..., None] / (1 + beta)


def check_cores(strategy):
  phase, _, state = entered(strategy, epoch=0)
  counts = np.bincount(DATA.given[LABELED], minlength=CLASSES)
  assert_allclose(state.extra['prior'], counts / counts.sum(), rtol=1e-6)  # on entering: of all rows
  passed = LABELED & (np.arange(ROWS) % 3 > 0)  # as if these rows had passed the sieve in the epoch before
  state = state.replace(
    phase_epoch=jnp.int32(6), dynamics=state.dynamics.replace(chosen=jnp.asarray(passed | ~LABELED)[None])
  )
  state = train.refreshed(phase, state, jnp.asarray(DATA.images), ROOT)
  prior = np.bincount(DATA.given[passed], minlength=CLASSES) / passed.sum()
  assert_allclose(state.extra['prior'], prior, rtol=1e-6)
  state = between_epochs.begin_epoch(strategy, state, phase.rows)
  index = rows_of(LABELED, state)
  new, metrics = tiny.advance(phase, state, DATA)
  logits, target = logits_of(state.params['net'], PIXELS[index]), GIVEN[index]
  p = softmax(logits)
  chosen = cross_entropy(logits, target) <= -np.log(p).mean(-1)
  assert 2 < chosen.sum() < BATCH
  taken(state, new, index, cores_error(logits, target, prior, 2 * 5 / 8, chosen[0]))
  assert_allclose(tiny.mean(metrics, 'chosen'), chosen.mean(), rtol=1e-5)


def test_cores2_takes_the_references_step():
  notices(check_cores, CORES)


def cores_loss(epoch, logits, label, prior, **fields):
  """Returns (loss, chosen [1, B]) of official-schedule CORES² on given logits [B, C]."""
  b = {'weak': None, 'weight': jnp.ones(len(label)), 'target': jax.nn.one_hot(label, logits.shape[-1])}
  state = type('State', (), {'extra': {'prior': jnp.asarray(prior)}})
  strategy = cores2.Strategy.build(**fields)
  loss, out = strategy.loss(None, state, {'train': b}, Given(jnp.asarray(logits)[None], jnp.int32(epoch)))
  return float(loss), np.asarray(out.metrics['chosen'] & jnp.ones((1, len(label)), bool))


def test_cores2_follows_the_official_schedule():
  # f_beta of the official code: 0 for epochs 0–9, linspace(0, 2, 30) for 10–39, then 2; all rows until epoch 30.
  rng = np.random.default_rng(0)
  logits, label, prior = rng.normal(size=(64, 3)), rng.integers(0, 3, 64), np.array([0.5, 0.3, 0.2])
  every = -np.log(softmax(logits))
  own = every[np.arange(64), label]
  sieved = own <= every.mean(-1)
  beta = np.concatenate([np.zeros(10), np.linspace(0, 2, 30), np.full(60, 2.0)])
  for epoch in (0, 9, 10, 11, 25, 30, 31, 39, 40, 99):
    chosen = sieved if epoch > 30 else np.ones(64, bool)
    loss, found = cores_loss(epoch, logits, label, prior)
    assert_array_equal(found[0], chosen)
    per = (own - beta[epoch] * every @ prior) / (1 + beta[epoch])
    assert_allclose(loss, per[chosen].mean(), rtol=1e-4, atol=1e-6)


def test_cores2_sieves_everything_and_stays_finite():
  logits = np.array([[50.0, -50.0, 0.0]] * 4)
  loss, chosen = cores_loss(50, logits, np.ones(4, int), np.full(3, 1 / 3))
  assert loss == 0 and not chosen.any()


# --- loss filtering by a mixture ------------------------------------------------------------------


def low_beta(values, keep):
  """P(beta of the smaller mean), [N], 0 for rows not kept: Arazo et al.'s lookup table on float64 EM."""
  own = np.asarray(values, np.float64)[keep]
  low, high = np.percentile(own, [5, 95])
  inside = (own >= low) & (own <= high)
  edge = lambda x: np.clip(x, 1e-4, 1 - 1e-4)
  weight, a, b = beta_reference(edge((own[inside] - low) / (high - low)))
  table = np.linspace(0, 1, 101)
  density = lambda x: weight[:, None] * stats.beta.pdf(edge(x), a[:, None], b[:, None])
  large = lambda x: density(x)[(a / (a + b)).argmax()] / density(x).sum(0)
  z = np.clip((own - low) / (high - low), 0, 1)
  out = np.zeros(len(keep))
  out[keep] = 1 - np.where(z >= table[large(table).argmax()], large(table).max(), large(z))
  return out


@pytest.mark.parametrize('split, part', [('gaussian', low_part), ('beta', low_beta)])
def test_loss_filter_by_a_mixture_takes_the_references_step(split, part):
  def check(strategy):
    phase, previous, state = entered(strategy)
    allowed = LABELED
    trust = part(cross_entropy(logits_of(previous.params['net'], PIXELS)[0], GIVEN), allowed)
    assert 5 < (trust[allowed] > 0.4).sum() < allowed.sum() - 5
    assert_allclose(np.asarray(state.targets.trust[0])[allowed], trust[allowed], rtol=1e-3, atol=1e-4)
    kept = allowed & (trust > 0.4)
    assert_array_equal(state.masks['train'], kept)
    index = rows_of(kept, state)
    new, _ = tiny.advance(phase, state, DATA)
    logits = logits_of(state.params['net'], PIXELS[index])
    taken(state, new, index, mean_error(logits, GIVEN[index], 1.0))

  notices(check, loss_filter.Strategy.build(split=split, threshold=0.4))


def test_loss_filter_is_told_the_rate_only_where_it_uses_it():
  build = loss_filter.Strategy.build
  assert build().needs == ('rate',) and build(rate=0.0).needs == ()
  assert build(split='gaussian').needs == build(split='beta').needs == ()
  with pytest.raises(UserError, match=r"loss_filter\.split: unknown value 'gauss'\. Did you mean 'gaussian'"):
    tiny.start(phase_of(build(split='gauss')), DATA)
