"""Pseudo-labels in rounds, FixMatch and FlexMatch against references in float64 numpy."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  BATCH,
  DATA,
  EYE,
  IN,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  mean_error,
  mirroring,
  notices,
  phase_of,
  rows_of,
  softmax,
  views as mirrored,
  without,
)
from numpy.testing import assert_allclose, assert_array_equal

import runs
import tiny
from noisyjax.config.build import build_strategy
from noisyjax.config.check import checked
from noisyjax.config.plan import phases_of
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs
from noisyjax.engine.state import Snapshot
from noisyjax.estimate import transition
from noisyjax.strategies import fixmatch, flexmatch, naive, posterior_match, pseudo_label
from noisyjax.strategies.shared import semi
from noisyjax.system.errors import UserError
from tiny import CLASSES, ROWS

TRUSTED = (DATA.verified >= 0) & IN
REST = ~TRUSTED & IN
BUILT = {
  'fixmatch': fixmatch.Strategy.build(threshold=0.6, lambda_u=0.7, ratio=2, source='verified'),
  'flexmatch': flexmatch.Strategy.build(threshold=0.8, lambda_u=0.7, ratio=2, source='verified'),
  'posterior_match': posterior_match.Strategy.build(threshold=0.6, lambda_u=0.7, ratio=2),
}
PSEUDO = pseudo_label.Strategy.build(threshold=0.5)
# What the unlabeled rows were last guessed as: σ = (14, 11, 2), and 5 rows never.
SELECTED = np.full(ROWS, -1, np.int32)
SELECTED[np.flatnonzero(REST)[:27]] = [0] * 14 + [1] * 11 + [2] * 2


# --- one step of the engine -----------------------------------------------------------------------


def check_match(name, strategy):
  """One step on trusted rows and on the others, which are unlabeled whatever their given labels say."""
  phase, _, state = entered(strategy)
  least = np.full(CLASSES, 0.6)
  if name == 'flexmatch':
    state = state.replace(extra=state.extra | {'selected': jnp.array(SELECTED[None])})
    beta = np.array([14, 11, 2]) / 14
    least = 0.8 * beta / (2 - beta)
  assert_array_equal(state.masks['labeled'] & IN, TRUSTED)
  assert_array_equal(state.masks['unlabeled'], REST)
  new, metrics = tiny.advance(phase, state, DATA)
  net = state.params['net']
  i, j = rows_of(TRUSTED), rows_of(REST, size=2 * BATCH)
  z, z_u = logits_of(net, PIXELS[i]), logits_of(net, PIXELS[j])
  q = softmax(z_u)[0]
  if name == 'posterior_match':
    matrix = np.zeros((CLASSES, CLASSES))
    np.add.at(matrix, (DATA.verified[TRUSTED], DATA.given[TRUSTED]), DATA.given[TRUSTED] >= 0)
    matrix = np.where(matrix.any(1, keepdims=True), matrix + 1 / CLASSES, np.eye(CLASSES))
    heard = np.where(DATA.given[j, None] >= 0, (matrix / matrix.sum(1, keepdims=True)).T[DATA.given[j]], 1.0)
    q = q * heard / (q * heard).sum(-1, keepdims=True)
  guess = q.argmax(-1)
  mask = q.max(-1) >= least[guess]
  assert 3 < mask.sum() < len(j) - 3
  error = mean_error(z, EYE[DATA.verified[i]], np.ones((1, BATCH)))
  error_u = 0.7 * (softmax(z_u) - EYE[guess]) * mask[:, None] / len(j)  # by the whole batch, not by mask.sum()
  assert_descended(new, *descended(net, PIXELS[np.r_[i, j]], np.concatenate([error, error_u], 1)))
  guesses = (cross_entropy(z_u, EYE[guess])[0] * mask).mean()
  loss = cross_entropy(z, EYE[DATA.verified[i]]).mean()
  first = cross_entropy(z, EYE[DATA.verified[i]])[0, : TRUSTED.sum()]  # the batch repeats four of the 12 rows
  assert_allclose(tiny.mean(metrics, 'loss'), first.mean(), rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'used'), mask.mean(), rtol=1e-5)
  assert_allclose(tiny.mean(metrics, 'guesses'), guesses, rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'objective'), loss + 0.7 * guesses, rtol=1e-4)
  if name == 'flexmatch':
    want = SELECTED.copy()
    sure = q.max(-1) >= 0.8
    assert sure.sum() < mask.sum()
    want[j[sure]] = guess[sure]
    assert_array_equal(new.extra['selected'][0], want)


@pytest.mark.parametrize('name', BUILT)
def test_one_step_as_the_reference_takes_it_and_no_other(name):
  notices(lambda strategy: check_match(name, strategy), BUILT[name])


def test_official_settings():
  plain = fixmatch.Strategy.build()
  assert [float(v) for v in (plain.threshold, plain.lambda_u)] == pytest.approx([0.95, 1])
  assert plain.streams['unlabeled'].ratio == 7 and flexmatch.Strategy.build().thresh_warmup
  assert plain.needs == () and BUILT['fixmatch'].needs == ('verified',)
  with pytest.raises(UserError, match=r"strategy\.fixmatch\.source: .*'trusted'.* Choices: given, verified"):
    fixmatch.Strategy.build(source='trusted')


def test_posterior_match_is_fixmatch_where_no_label_is_given():
  data = dataclasses.replace(DATA, given=np.full_like(DATA.given, -1))
  learnt = []
  for strategy in (BUILT['posterior_match'], BUILT['fixmatch']):
    phase, _, state = entered(strategy, data=data)
    learnt.append(tiny.advance(phase, state, data)[0].params['net'])
  jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-6), *learnt)


# --- FixMatch's loss alone, with views that differ ------------------------------------------------


class Echo:
  """A ctx whose images are its logits; a look answers twice as surely, so that it is told from a training forward."""

  classes, stats = CLASSES, None

  def net(self, params, images):
    return images.reshape(1, -1, CLASSES), None

  def look(self, images):
    return 2 * images.reshape(1, -1, CLASSES), None


def views(size, seed):
  return np.random.default_rng(seed).normal(size=(size, 1, 1, CLASSES)).astype(np.float32)


def match_loss(strategy, weight=1.0, weight_u=1.0, state=None):
  b, weak, strong = views(4, 0), views(8, 1), views(8, 2)
  label = np.array([0, 1, 2, 0])
  labeled = {'weak': b, 'target': EYE[label], 'weight': np.full(4, weight), 'index': np.arange(4)}
  unlabeled = {'weak': weak, 'strong': strong, 'weight': np.full(8, weight_u), 'index': np.arange(4, 12)}
  batch = jax.tree.map(jnp.asarray, {'labeled': labeled, 'unlabeled': unlabeled})
  loss, out = strategy.loss(None, state, batch, Echo())
  q = softmax(2.0 * weak.reshape(8, CLASSES).astype(np.float64))
  guess, mask = q.argmax(-1), q.max(-1) >= 0.6
  assert 0 < mask.sum() < 8
  guesses = (cross_entropy(strong.reshape(8, CLASSES), EYE[guess]) * mask).sum() / 8
  return float(loss), cross_entropy(b.reshape(4, CLASSES), EYE[label]).mean(), guesses, out


def test_the_weak_view_is_looked_at_and_the_strong_one_is_trained():
  loss, labeled, guesses, out = match_loss(BUILT['fixmatch'])
  assert_allclose(loss, labeled + 0.7 * guesses, rtol=1e-5)
  assert out.logits.shape == (1, 4, CLASSES) and out.extra is None


def test_empty_streams_cost_nothing():
  loss, labeled, guesses, _ = match_loss(BUILT['fixmatch'], weight_u=0.0)
  assert_allclose(loss, labeled, rtol=1e-5)
  loss, _, guesses, _ = match_loss(BUILT['fixmatch'], weight=0.0)
  assert_allclose(loss, 0.7 * guesses, rtol=1e-5)
  assert match_loss(BUILT['fixmatch'], weight=0.0, weight_u=0.0)[0] == 0


def test_without_unlabeled_rows_a_step_is_naive_s_down_to_batch_statistics():
  full = tiny.data()
  states = []
  for strategy in (naive.Strategy.build(), fixmatch.Strategy.build(ratio=2)):
    phase = tiny.phase(strategy)
    states.append(tiny.advance(phase, tiny.start(phase, full), full)[0])
  jax.tree.map(
    lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    *((s.params['net'], s.stats) for s in states),
  )


# --- FlexMatch's thresholds -----------------------------------------------------------------------


@pytest.mark.parametrize(
  'counts, unused, warmup, beta',
  [
    ((10, 5, 0), 5, True, (1, 0.5, 0)),
    ((10, 5, 0), 20, True, (0.5, 0.25, 0)),
    ((10, 5, 0), 20, False, (1, 0.5, 0)),
    ((0, 0, 0), 20, True, (0, 0, 0)),
    ((0, 0, 0), 20, False, (0, 0, 0)),
    ((0, 0, 0), 0, True, (0, 0, 0)),  # no unlabeled row
  ],
)
def test_flexmatch_thresholds(counts, unused, warmup, beta):
  pool = np.repeat(np.arange(-1, 3), (unused, *counts)).astype(np.int32)
  outside = np.array([2] * 50, np.int32)  # rows that are not of the stream do not count
  selected = jnp.asarray(np.r_[outside, pool][None])
  masks = {'unlabeled': jnp.arange(selected.shape[1]) >= 50}
  strategy = flexmatch.Strategy.build(threshold=0.95, thresh_warmup=warmup)
  least = strategy.least(types.SimpleNamespace(extra={'selected': selected}, masks=masks), CLASSES)
  beta = np.array(beta)
  assert_allclose(least, 0.95 * beta / (2 - beta), rtol=1e-6)


# --- pseudo-labels --------------------------------------------------------------------------------


def expected(before, source='given', threshold=0.5, cap=0):
  """Labels [N] and which of them are guesses, under the networks before the phase."""
  known = {'given': DATA.given, 'verified': DATA.verified}[source]
  q = softmax(logits_of(before, PIXELS))[0]
  sure, guess = q.max(-1), q.argmax(-1)
  added = (known < 0) & (sure > threshold) & IN
  for c in range(CLASSES):
    rows = np.flatnonzero(added & (guess == c))
    if cap:
      added[sorted(rows, key=lambda i: -sure[i])[cap:]] = False
  return np.where(known >= 0, known, np.where(added, guess, -1)), added, sure


def check_pseudo(strategy, **asked):
  phase, previous, state = entered(strategy, reset='all', steps=2)
  label, added, sure = expected(previous.params['net'], **asked)
  assert_array_equal(state.targets.label, label)
  assert_allclose(state.targets.trust[0], np.where(added, sure, label >= 0), rtol=1e-4)
  new, _ = tiny.advance(phase, state, DATA)
  index = rows_of((label >= 0) & IN, state)
  net = state.params['net']
  assert not np.array_equal(net['head']['kernel'], previous.params['net']['head']['kernel'])
  logits = logits_of(net, PIXELS[index])
  assert_descended(new, *descended(net, PIXELS[index], mean_error(logits, EYE[label[index]], np.ones((1, BATCH)))))
  return added


def test_a_round_adds_the_rows_that_the_phase_before_is_sure_of():
  added = check_pseudo(PSEUDO)
  assert 0 < added.sum() < 5  # of the five unlabeled rows
  for method in ('score', 'refresh'):
    with pytest.raises((AssertionError, KeyError, TypeError)):
      check_pseudo(without(PSEUDO, method))


def test_a_round_counts_only_verified_labels_if_told_and_caps_each_class():
  every = check_pseudo(pseudo_label.Strategy.build(threshold=0.5, source='verified'), source='verified')
  some = check_pseudo(pseudo_label.Strategy.build(threshold=0.5, source='verified', cap=3), source='verified', cap=3)
  assert 3 < some.sum() < every.sum() and (every | ~some).all()


def test_caps_keep_the_most_confident_of_each_class():
  rng = np.random.default_rng(0)
  sure = rng.integers(0, 5, 40) / 5  # many ties: the earlier row wins
  guess, candidate = rng.integers(0, CLASSES, 40), rng.random(40) < 0.7
  candidate[0], sure[0] = True, 0.99
  for cap in (1, 4, 100):
    want = np.zeros(40, bool)
    for c in range(CLASSES):
      rows = np.flatnonzero(candidate & (guess == c))
      want[sorted(rows, key=lambda i: -sure[i])[:cap]] = True
    got = np.asarray(semi.smallest_of_each_class(-sure, guess, candidate, cap, CLASSES))
    assert_array_equal(got, want)
    assert got[0]
  assert not semi.smallest_of_each_class(-sure, guess, np.zeros(40, bool), 2, CLASSES).any()


@pytest.mark.parametrize(
  'epochs, rounds, lengths', [(20, 2, (6, 6, 8)), (3, 4, (1, 1, 1)), (2, 2, (1, 1)), (1, 2, (1, 1))]
)
def test_rounds_share_the_epochs(epochs, rounds, lengths):
  plan = pseudo_label.Strategy.build(rounds=rounds, source='verified').phases('pseudo_label', epochs)
  assert tuple(p[1] for p in plan) == lengths
  assert [p[0] for p in plan] == ['naive'] + ['pseudo_label'] * (len(lengths) - 1)
  assert plan[0][2] == {'rows': 'trusted', 'labels': 'verified'}
  assert all(p[2]['reset'] == 'all' for p in plan[1:])


def test_later_rounds_are_stricter():
  config = runs.recipe(strategy__name='pseudo_label', epochs=9)
  checked(config)
  thresholds = [build_strategy(own, name).threshold for name, _, own in phases_of(config)[1:]]
  assert_allclose(thresholds, [0.95, 0.99], rtol=1e-6)
  assert phases_of(config)[0][2].rows == 'all'


# --- what only verified labels may reach ----------------------------------------------------------


@pytest.mark.parametrize('name', ['fixmatch', 'flexmatch', 'pseudo_label'])
def test_with_verified_labels_alone_a_given_label_reaches_nothing(name):
  strategy = BUILT.get(name) or pseudo_label.Strategy.build(threshold=0.4, source='verified')
  other = TrainData(DATA.images, np.roll(DATA.given, 7), DATA.verified, CLASSES)
  states = []
  for data in (DATA, other):
    phase = phase_of(strategy, data)
    state, metrics = tiny.advance(phase, tiny.start(phase, data), data, 2)
    state = between_epochs.begin_epoch(strategy, state, phase.rows)
    states.append((state.params, state.targets, state.extra, state.masks, state.dynamics, metrics))
  assert tiny.same(*states)


def test_posterior_match_asks_the_average_about_the_weak_view_and_trains_the_strong_one():
  strategy = BUILT['posterior_match']
  phase, _, state = entered(strategy)
  phase = mirroring(phase)
  phase = tiny.replaced(phase, spec=dataclasses.replace(phase.spec, ema=True))
  net = state.params['net']
  average = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(3), a.shape), net)
  state = state.replace(ema=Snapshot(average, state.stats))
  seen = mirrored(strategy, phase, state)
  _, metrics = tiny.advance(phase, state, DATA)
  z, z_u = logits_of(net, seen['labeled']['weak']), logits_of(net, seen['unlabeled']['strong'])
  i, j = rows_of(TRUSTED, state), rows_of(REST, state, 2 * BATCH)
  q = transition.posterior(
    softmax(logits_of(average, seen['unlabeled']['weak']))[0], DATA.given[j], np.asarray(state.extra['matrix'])
  )
  guess, mask = np.asarray(q.argmax(-1)), np.asarray(q.max(-1)) >= 0.6
  assert 3 < mask.sum() < len(j) - 3
  assert_allclose(tiny.mean(metrics, 'used'), mask.mean(), rtol=1e-5)
  guesses = (cross_entropy(z_u, EYE[guess])[0] * mask).mean()
  assert_allclose(tiny.mean(metrics, 'guesses'), guesses, rtol=1e-4)
  loss = cross_entropy(z, EYE[DATA.verified[i]]).mean()
  assert_allclose(tiny.mean(metrics, 'objective'), loss + 0.7 * guesses, rtol=1e-4)
