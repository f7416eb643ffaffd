"""Each strategy against a reference of its own in float64 numpy; and a strategy that is secretly naive is noticed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax import step, train
from noisyjax.data import stream
from noisyjax.optim import Optimizer
from noisyjax.strategies import clean_correction, co_teaching, loss_filter, naive
from tiny import BATCH, CLASSES, ROOT, ROWS

LR, EPOCH = 0.3, 6
UNLABELED, VERIFIED, HELD = range(0, 5), range(3, 15), range(40, 44)
DATA = tiny.data(unlabeled=UNLABELED, verified=VERIFIED)
IN = ~np.isin(np.arange(ROWS), HELD)
PIXELS = (DATA.images.reshape(ROWS, -1).astype(np.float64) - 127.5) / 64
EYE = np.eye(CLASSES)

BUILT = {
  'naive': naive.Strategy.build(networks=2, smoothing=0.2),
  'co_teaching': co_teaching.Strategy.build(forget=0.5, ramp=10.0),
  'loss_filter': loss_filter.Strategy.build(rate=0.4, warmup=5.0),
  'clean_correction': clean_correction.Strategy.build(confidence=0.5),
  'clean_correction_soft': clean_correction.Strategy.build(confidence=0.5, soft=True),
}


# --- the reference: softmax regression in float64 -------------------------------------------------


def softmax(logits):
  e = np.exp(logits - logits.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, target):
  return -(target * np.log(softmax(logits))).sum(-1)


def logits_of(net, rows):
  kernel, bias = (np.asarray(net['head'][k], np.float64) for k in ('kernel', 'bias'))
  return np.einsum('np,mpc->mnc', PIXELS[rows], kernel) + bias[:, None]


def everyone(before):
  given = np.maximum(DATA.given, 0)
  return (DATA.given >= 0) & IN, EYE[given]


def small_losses(before):
  """loss_filter: the floor(0.6 n) rows with the smallest losses under the networks before the epoch."""
  allowed, target = everyone(before)
  loss = np.where(allowed, cross_entropy(logits_of(before, range(ROWS))[0], target), np.inf)
  kept = np.zeros(ROWS, bool)
  kept[np.argsort(loss)[: int(0.6 * allowed.sum())]] = True
  return kept, target


def corrected(before, soft=False):
  """clean_correction: verified labels, and the corrector's where it is sure."""
  probs = softmax(logits_of(before, range(ROWS))[0])
  known = DATA.verified >= 0
  target = np.where(known[:, None], EYE[DATA.verified], probs if soft else EYE[probs.argmax(-1)])
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
}


def reference_step(name, before, net):
  """Returns head's (kernel, bias) after one step from `net`, and the batch's mean loss."""
  select, count, smoothing = REFERENCE[name]
  members, target = select(before)
  target = (1 - smoothing) * target + smoothing / CLASSES
  walk = step.walks({'train': jnp.asarray(members)}, step.keys(ROOT).walk, jnp.int32(0), CLASSES)['train']
  index = np.asarray(stream.rows(walk, 0, BATCH)[0])
  logits, t = logits_of(net, index), target[index]
  per = cross_entropy(logits, t)
  weight = count(per)
  error = (softmax(logits) - t) * (weight / weight.sum(-1, keepdims=True))[..., None]  # [M, B, C]
  kernel = np.asarray(net['head']['kernel']) - LR * np.einsum('bp,mbc->mpc', PIXELS[index], error)
  return kernel, np.asarray(net['head']['bias']) - LR * error.sum(1), per.mean()


def phase_of(strategy, **fields):
  plain = tiny.hyper(Optimizer('sgd', momentum=0.0), lr=LR, decay=0.0, epochs=20)
  return tiny.phase(strategy, tiny.spec(strategy.networks, tiny.Linear()), plain, rows=IN, **fields)


def check(name, strategy):
  """Enters the strategy's phase after another, jumps to its epoch 6 and takes one step; compares with the reference."""
  earlier = phase_of(naive.Strategy.build(networks=strategy.networks))
  previous = tiny.start(earlier, DATA)
  phase = phase_of(strategy, reset='all' if name.startswith('clean_correction') else 'none')
  state = tiny.start(phase, DATA, previous, 1)
  if strategy.refresh_on == 'epoch':
    state = state.replace(phase_epoch=jnp.array(EPOCH, jnp.int32))
    if strategy.refresh is not None:
      state = train.refreshed(phase, state, jnp.asarray(DATA.images), ROOT)
    state = step.begin_epoch(strategy, state, IN)
  new, metrics = tiny.advance(phase, state, DATA)
  kernel, bias, loss = reference_step(name, previous.params['net'], state.params['net'])
  assert_allclose(new.params['net']['head']['kernel'], kernel, rtol=1e-4, atol=1e-5)
  assert_allclose(new.params['net']['head']['bias'], bias, rtol=1e-4, atol=1e-5)
  assert_allclose(tiny.mean(metrics, 'loss'), loss, rtol=1e-4)
  return state


@pytest.mark.parametrize('name', BUILT)
def test_one_step_as_the_reference_takes_it(name):
  check(name, BUILT[name])


def without(strategy, method):
  """The same strategy with naive's `method` (which has no smoothing unless the strategy has)."""
  plain = getattr(naive.Strategy, method)
  if method == 'loss':
    plain = lambda self, *args: naive.Strategy.loss(naive.Strategy.build(networks=self.networks), *args)
  mutant = type('Mutant', (type(strategy),), {method: plain})
  return mutant(**{f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)})


@pytest.mark.parametrize('name, method', [
  ('naive', 'loss'), ('co_teaching', 'loss'), ('loss_filter', 'members'), ('loss_filter', 'refresh'),
  ('clean_correction', 'refresh'), ('clean_correction_soft', 'refresh'),
])  # fmt: skip
def test_the_reference_notices_a_strategy_that_is_secretly_naive(name, method):
  with pytest.raises(AssertionError, match='Not equal to tolerance'):
    check(name, without(BUILT[name], method))


# --- losses alone, on given logits ----------------------------------------------------------------


class Given:
  """A ctx whose networks answer with given logits."""

  def __init__(self, logits, epoch=0):
    self.logits, self.epoch = logits, epoch

  def net(self, params, images):
    return self.logits, None


@jax.jit
def loss_of(strategy, logits, label, weight, epoch):
  """Returns (loss, metrics, gradient by the logits [M, B, C])."""
  batch = {'train': {'weak': None, 'weight': weight, 'label': label, 'target': jax.nn.one_hot(label, logits.shape[-1])}}
  objective = lambda z: strategy.loss(None, None, batch, Given(z, epoch))
  (loss, out), grad = jax.value_and_grad(objective, has_aux=True)(logits)
  return loss, out.metrics, grad


def draw(batch, seed=0):
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(size=(2, batch, CLASSES)) * 2, jnp.float32)
  return logits, jnp.asarray(rng.integers(0, CLASSES, batch)), jnp.ones(batch)


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
    masks = step.begin_epoch(phase.strategy, train.refreshed(phase, at, images, ROOT), IN).masks
    assert int(masks['train'].sum()) == kept, epoch
  assert_array_equal(masks['train'], small_losses(state.params['net'])[0])


# --- clean-subset correction ----------------------------------------------------------------------


@pytest.mark.parametrize('soft', [False, True])
def test_clean_correction_keeps_verified_labels_and_corrects_where_it_is_sure(soft):
  previous = tiny.start(phase_of(naive.Strategy.build()), DATA)
  strategy = BUILT['clean_correction_soft' if soft else 'clean_correction']
  state = tiny.start(phase_of(strategy, reset='all'), DATA, previous, 1)
  probs = softmax(logits_of(previous.params['net'], range(ROWS))[0])
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


def test_clean_correction_plans_a_corrector_and_then_a_new_network():
  first, second = clean_correction.Strategy.build().phases('clean_correction', 20)
  assert first == ('naive', 10, {'rows': 'trusted', 'labels': 'verified'})
  assert second == ('clean_correction', 10, {'reset': 'all'})


def test_floats_are_cast_once_and_the_rest_is_static():
  strategy = co_teaching.Strategy.build(forget=1, ramp=4)
  leaves, tree = jax.tree.flatten(strategy)
  assert [(type(v), float(v)) for v in leaves] == [(np.float32, 1.0), (np.float32, 4.0)]
  assert jax.tree.unflatten(tree, leaves) == strategy
  assert not jax.tree.leaves(naive.Strategy.build())[1:]  # networks is no leaf
