"""Each strategy against a float64 reference in numpy, and detection of a strategy that only computes cross-entropy."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  EPOCH,
  EYE,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  draw,
  entered,
  logits_of,
  loss_of,
  mean_error,
  notices,
  phase_of,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.engine import between_epochs, train
from noisyjax.strategies import clean_correction, co_teaching, loss_filter, naive
from noisyjax.system import plugins
from tiny import BATCH, CLASSES, ROOT, ROWS

BUILT = {
  'naive': naive.Strategy.build(networks=2, smoothing=0.2),
  'co_teaching': co_teaching.Strategy.build(forget=0.5, ramp=10.0),
  'loss_filter': loss_filter.Strategy.build(rate=0.4, warmup=5.0),
  'clean_correction': clean_correction.Strategy.build(confidence=0.5),
  'clean_correction_soft': clean_correction.Strategy.build(confidence=0.5, soft=True),
  'clean_correction_posterior': clean_correction.Strategy.build(confidence=0.5, posterior=True),
}


def everyone(before):
  return LABELED, GIVEN


def small_losses(before):
  """loss_filter: the floor(0.6 n) rows with the smallest losses under the networks before the epoch."""
  allowed, target = everyone(before)
  loss = np.where(allowed, cross_entropy(logits_of(before, PIXELS)[0], target), np.inf)
  kept = np.zeros(ROWS, bool)
  kept[np.argsort(loss)[: int(0.6 * allowed.sum())]] = True
  return kept, target


def corrected(before, soft=False):
  """clean_correction: verified labels, and the corrector's where it is sure."""
  probs = softmax(logits_of(before, PIXELS)[0])
  known = DATA.verified >= 0
  target = np.where(known[:, None], EYE[DATA.verified], probs if soft else EYE[probs.argmax(-1)])
  return (known | (probs.max(-1) >= 0.5)) & IN, target


def weighed(before):
  """The same, the corrector's opinion weighed by what the given label says: T counted on the pairs, one row by one."""
  probs = softmax(logits_of(before, PIXELS)[0])
  pairs = np.zeros((CLASSES, CLASSES))
  for verified, given in zip(DATA.verified[IN], DATA.given[IN]):
    if verified >= 0 and given >= 0:
      pairs[verified, given] += 1
  pairs = np.where(pairs.any(1, keepdims=True), pairs + 1 / CLASSES, EYE)
  matrix = pairs / pairs.sum(1, keepdims=True)
  for row, given in enumerate(DATA.given):
    if given >= 0:
      probs[row] *= matrix[:, given]
      probs[row] /= probs[row].sum()
  known = DATA.verified >= 0
  target = np.where(known[:, None], EYE[DATA.verified], EYE[probs.argmax(-1)])
  assert (probs.argmax(-1) != softmax(logits_of(before, PIXELS)[0]).argmax(-1)).any()
  return (known | (probs.max(-1) >= 0.5)) & IN, target


def alone(per):
  return np.ones_like(per)


def peers(per):
  """co_teaching in epoch 6 of a ramp of 10: each network marks the floor(16 (1 - 0.5 6/9)) = 10 rows for the other."""
  chosen = np.zeros_like(per)
  for m in (0, 1):
    chosen[1 - m, np.argsort(per[m], kind='stable')[:10]] = 1
  return chosen


# name → (rows and targets of the epoch, rows of a batch that count, label smoothing)
REFERENCE = {
  'naive': (everyone, alone, 0.2),
  'co_teaching': (everyone, peers, 0.0),
  'loss_filter': (small_losses, alone, 0.0),
  'clean_correction': (corrected, alone, 0.0),
  'clean_correction_soft': (lambda before: corrected(before, soft=True), alone, 0.0),
  'clean_correction_posterior': (weighed, alone, 0.0),
}


def check(name, strategy):
  """One step of the strategy's epoch 6, after an earlier phase, against the reference."""
  reset = 'all' if name.startswith('clean_correction') else 'none'
  phase, previous, state = entered(strategy, reset=reset)
  new, metrics = tiny.advance(phase, state, DATA)
  select, count, smoothing = REFERENCE[name]
  members, target = select(previous.params['net'])
  target = (1 - smoothing) * target + smoothing / CLASSES
  index = rows_of(members)
  net = state.params['net']
  logits = logits_of(net, PIXELS[index])
  per = cross_entropy(logits, target[index])
  assert_descended(new, *descended(net, PIXELS[index], mean_error(logits, target[index], count(per))))
  assert_allclose(tiny.mean(metrics, 'loss'), per.mean(), rtol=1e-4)


@pytest.mark.parametrize('name', BUILT)
def test_one_step_as_the_reference_takes_it_and_no_other(name):
  notices(lambda strategy: check(name, strategy), BUILT[name])


# --- losses alone, on given logits ----------------------------------------------------------------


@pytest.mark.parametrize('name', ['naive', 'co_teaching'])
def test_loss_and_gradient_of_given_logits(name):
  logits, label, weight = draw(BATCH)
  weight = weight.at[jnp.array([2, 7])].set(0.0)
  _, _, smoothing = REFERENCE[name]
  z, t = np.asarray(logits, np.float64), (1 - smoothing) * EYE[np.asarray(label)] + smoothing / CLASSES
  per = cross_entropy(z, t)
  counts = np.tile(np.asarray(weight), (2, 1))
  if name == 'co_teaching':  # epoch 6: floor(14 · 2/3) = 9 of the 14 rows that count
    counts = np.zeros_like(per)
    for m in (0, 1):
      order = [i for i in np.argsort(per[m]) if weight[i] > 0]
      counts[1 - m, order[:9]] = 1
  share = counts / counts.sum(-1, keepdims=True)
  loss, metrics, grad = loss_of(BUILT[name], logits, label, weight, EPOCH)
  assert_allclose(loss, (per * share).sum(), rtol=1e-5)
  assert_allclose(metrics['loss'], per, rtol=1e-4)
  assert_allclose(grad, (softmax(z) - t) * share[..., None], rtol=1e-4, atol=1e-6)


def test_smoothing_is_traced_and_none_is_cross_entropy():
  logits, label, weight = draw(BATCH)
  plain = naive.Strategy.build(networks=2)
  loss, *_ = loss_of(plain, logits, label, weight, 0)
  want = cross_entropy(np.asarray(logits, np.float64), EYE[np.asarray(label)]).mean(-1).sum()
  assert_allclose(loss, want, rtol=1e-5)


# --- co-teaching ----------------------------------------------------------------------------------


def test_co_teaching_keeps_as_many_rows_as_its_official_code():
  # Han et al. 2018, T_k = 10, τ = 0.2, batch 128: int(remember_rate * len(ind)) of the official code.
  want = [128, 125, 122, 119, 116, 113, 110, 108, 105, 102, 102, 102]
  strategy = co_teaching.Strategy.build(forget=0.2, ramp=10.0)
  chosen = [np.asarray(loss_of(strategy, *draw(128), epoch)[1]['chosen'].sum(-1)) for epoch in range(len(want))]
  assert_array_equal(chosen, np.stack([want, want], 1))


@pytest.mark.parametrize('forget, batch, kept', [(0.3, 100, 70), (0.5, 128, 64), (0.1, 10, 9), (0.0, 16, 16)])
def test_co_teaching_floors_without_float_dust(forget, batch, kept):
  strategy = co_teaching.Strategy.build(forget=forget, ramp=1.0)  # a ramp of one epoch: all at once
  assert_array_equal(loss_of(strategy, *draw(batch), 3)[1]['chosen'].sum(-1), kept)


def test_co_teaching_exchanges_and_counts_row_0():
  # Network 0 is right about rows 0 and 1 alone, network 1 about rows 2 and 3: each must learn the other's two.
  logits = np.zeros((2, 4, CLASSES), np.float32)
  logits[0, :2, 0] = logits[1, 2:, 0] = 9.0
  strategy = co_teaching.Strategy.build(forget=0.5, ramp=1.0)
  _, metrics, grad = loss_of(strategy, jnp.asarray(logits), jnp.zeros(4, jnp.int32), jnp.ones(4), 1)
  assert_array_equal(metrics['chosen'], [[False, False, True, True], [True, True, False, False]])
  assert_array_equal(np.asarray(grad).any(-1), [[False, False, True, True], [True, True, False, False]])


def test_co_teaching_networks_touch_each_other_by_their_choice_alone():
  logits, label, weight = draw(BATCH)
  _, before, grad = loss_of(BUILT['co_teaching'], logits, label, weight, EPOCH)
  # The largest loss of network 1 grows: that moves its logits, but not the order of its losses.
  worst = int(np.asarray(before['loss'][1]).argmax())
  moved = logits.at[1, worst].add(jnp.where(jnp.arange(CLASSES) == label[worst], -1.0, 0.0))
  _, after, other = loss_of(BUILT['co_teaching'], moved, label, weight, EPOCH)
  assert_array_equal(after['chosen'], before['chosen'])
  assert_array_equal(other[0], grad[0])


# --- loss filtering -------------------------------------------------------------------------------


def test_loss_filter_keeps_all_rows_until_its_warm_up_is_over():
  phase = phase_of(BUILT['loss_filter'])
  images = jnp.asarray(DATA.images)
  state = tiny.start(phase, DATA)
  labeled, _ = everyone(None)
  for epoch, kept in ((0, labeled.sum()), (4, labeled.sum()), (5, int(0.6 * labeled.sum()))):
    at = state.replace(phase_epoch=jnp.array(epoch, jnp.int32))
    masks = between_epochs.begin_epoch(phase.strategy, train.refreshed(phase, at, images, ROOT), IN).masks
    assert int(masks['train'].sum()) == kept, epoch
  assert_array_equal(masks['train'], small_losses(state.params['net'])[0])


# --- clean-subset correction ----------------------------------------------------------------------


@pytest.mark.parametrize('soft', [False, True])
def test_clean_correction_keeps_verified_labels_and_corrects_where_it_is_sure(soft):
  previous = tiny.start(phase_of(naive.Strategy.build()), DATA)
  strategy = BUILT['clean_correction_soft' if soft else 'clean_correction']
  state = tiny.start(phase_of(strategy, reset='all'), DATA, previous, 1)
  probs = softmax(logits_of(previous.params['net'], PIXELS)[0])
  sure = probs.max(-1) >= 0.5
  known = DATA.verified >= 0
  assert 3 < (sure & ~known).sum() < (~known).sum() - 3 and (DATA.verified != DATA.given)[known].any()
  want = np.where(known, DATA.verified, np.where(sure, probs.argmax(-1), -1))
  assert_array_equal(state.targets.label, want)
  assert_array_equal(state.masks['train'], (known | sure) & IN)
  if soft:
    assert_array_equal(state.targets.soft[known], EYE[DATA.verified[known]])
    assert_allclose(state.targets.soft[sure & ~known], probs[sure & ~known], rtol=1e-4)
    assert_array_equal(state.targets.soft[~sure & ~known], 0.0)
  else:
    assert state.targets.soft is None


@pytest.mark.parametrize('every_epoch', [False, True])
def test_clean_correction_of_every_epoch_asks_the_average_as_the_last_epoch_left_it(every_epoch):
  strategy = clean_correction.Strategy.build(soft=True, every_epoch=every_epoch)
  phase = tiny.phase(strategy, tiny.spec(ema=True), tiny.hyper(lr=1.0), epochs=3)
  targets, left = {}, {}

  class Watch:
    def begin(self, phase, position, state):
      left[0] = jax.tree.map(np.array, (state.params['net'], state.stats))  # on entering there is no average yet

    def step(self, phase, position, state, count, tick):
      targets[int(state.phase_epoch)] = np.array(state.targets.soft)

    def epoch(self, phase, position, state, record):
      left[int(state.phase_epoch)] = jax.tree.map(np.array, (state.ema.params, state.ema.stats))

  train.fit([phase], DATA, None, tiny.ROOT, Watch())
  rest = DATA.verified < 0
  asked = {n: softmax(np.asarray(phase.spec.net.look(*left[n], np.asarray(DATA.images))[0][0]))[rest] for n in range(3)}
  assert len({round(float(probs.std()), 4) for probs in asked.values()}) == 3
  assert targets.keys() == asked.keys()
  for epoch, found in targets.items():
    assert_allclose(found[rest], asked[epoch if every_epoch else 0], rtol=1e-4, atol=1e-6)


def test_clean_correction_plans_a_corrector_and_then_a_new_network():
  first, second = clean_correction.Strategy.build().phases('clean_correction', 20)
  assert first == ('naive', 10, {'rows': 'trusted', 'labels': 'verified'})
  assert second == ('clean_correction', 10, {'reset': 'all'})
  plan = clean_correction.Strategy.build(rounds=3).phases('clean_correction', 22)
  assert [(name, epochs) for name, epochs, _ in plan] == [('naive', 5), *[('clean_correction', n) for n in (5, 5, 7)]]


def test_strategies_of_equal_fields_are_not_taken_for_one_another():
  one, other = (type('Same', (naive.Strategy,), {}).build() for _ in range(2))
  assert jax.tree.leaves(one) == jax.tree.leaves(other)
  assert jax.tree.structure(one) != jax.tree.structure(other)
  assert jax.tree.structure(one) == jax.tree.structure(type(one).build(smoothing=0.3))
  assert jax.tree.structure(one) != jax.tree.structure(type(one).build(networks=2))


def test_floats_are_cast_once_and_the_rest_is_static():
  strategy = co_teaching.Strategy.build(forget=1, ramp=4)
  leaves, tree = jax.tree.flatten(strategy)
  assert [(type(v), float(v)) for v in leaves] == [(np.float32, 1.0), (np.float32, 4.0)]
  assert jax.tree.unflatten(tree, leaves) == strategy
  assert len(jax.tree.leaves(naive.Strategy.build())) == 2  # networks is no leaf


def test_the_confidence_penalty_is_the_negative_entropy():
  logits, label, weight = draw(BATCH)
  loss, *_ = loss_of(naive.Strategy.build(networks=2, penalty=0.5), logits, label, weight, 0)
  p = softmax(np.asarray(logits, np.float64))
  want = cross_entropy(np.asarray(logits, np.float64), EYE[np.asarray(label)]) + 0.5 * (p * np.log(p)).sum(-1)
  assert_allclose(loss, want.mean(-1).sum(), rtol=1e-5)


def test_every_strategy_has_a_golden_step_that_notices_a_secret_naive():
  texts = (path.read_text() for path in Path(__file__).parent.glob('test_*.py'))
  trees = [ast.parse(text) for text in texts if 'notices(' in text]
  lines = [line for tree in trees for line in tree.body if isinstance(line, ast.ImportFrom)]
  held = {alias.name for line in lines if line.module == 'noisyjax.strategies' for alias in line.names}
  assert held >= set(plugins.names(STRATEGIES, 'Strategy'))
