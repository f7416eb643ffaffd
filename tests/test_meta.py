"""L2RW and Meta-Weight-Net: golden steps in float64, the gradient in the weights, and values that must not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from golden import (
  DATA,
  EYE,
  GIVEN,
  IN,
  LABELED,
  LR,
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
  step_key,
)
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax.data.training import TrainData
from noisyjax.engine.strategy import Ctx
from noisyjax.models.layers.conv import Conv
from noisyjax.strategies import l2rw, meta_weight_net, naive
from noisyjax.strategies.shared import meta
from tiny import BATCH, CLASSES, ROWS

TRUSTED = (DATA.verified >= 0) & IN
TRAINED = LABELED & ~TRUSTED  # the official codes do not train on verified rows
OWN = {'lr': 0.3, 'hidden': 7}  # a rate at which the old and the new weight network differ


def two(strategy, **fields):
  """The strategy with two networks, which must not couple."""
  return type('Two', (strategy,), {'networks': 2}).build(**fields)


BUILT = {
  'l2rw': l2rw.Strategy.build(),
  'l2rw of two': two(l2rw.Strategy),
  'meta_weight_net': meta_weight_net.Strategy.build(**OWN),
  'meta_weight_net of two': two(meta_weight_net.Strategy, **OWN),
  'meta_weight_net, normalised': meta_weight_net.Strategy.build(**OWN, normalise=True),
}


# --- the reference --------------------------------------------------------------------------------


def errors(net, index, target):
  return softmax(logits_of(net, PIXELS[index])) - target[index]  # [M, B, C]


def slopes(net, index, weight, trusted, rate):
  """∂L/∂w_i = −η ⟨∇ℓ_i(θ), ∇L(θ̂)⟩ of weights [M, B]; of softmax regression, ∇ℓ_i = (x_i e_iᵀ, e_i)."""
  error = errors(net, index, GIVEN)
  kernel, bias = descended(net, PIXELS[index], error * weight[..., None], rate)
  verified = EYE[np.maximum(DATA.verified, 0)]
  after = errors({'head': {'kernel': kernel, 'bias': bias}}, trusted, verified) / len(trusted)
  gradient = np.einsum('np,mnc->mpc', PIXELS[trusted], after)
  along = np.einsum('np,mpc->mnc', PIXELS[index], gradient) + after.sum(1)[:, None]
  return -rate * (error * along).sum(-1)


def l2rw_weights(state, index, trusted, per, strategy):
  useful = np.maximum(-slopes(state.params['net'], index, np.zeros_like(per), trusted, 1.0), 0)
  return useful / useful.sum(-1, keepdims=True), {}


def forward(own, per):
  """V and what its backward pass needs: hidden [M, B, H], weights [M, B]."""
  hidden = np.maximum(per[..., None] * own['hidden_kernel'][:, None] + own['hidden_bias'][:, None], 0)
  return hidden, 1 / (1 + np.exp(-(hidden * own['kernel'][:, None]).sum(-1) - own['bias'][:, None]))


def mwn_weights(state, index, trusted, per, strategy):
  """Eqs. 3 and 4: returns the shares under the new weight network, and its gradient."""
  own = {k: np.asarray(v, np.float64) for k, v in state.params['own'].items()}
  normalised = lambda v: v / (v.sum(-1, keepdims=True) if strategy.normalise else v.shape[-1])
  hidden, v = forward(own, per)
  slope = slopes(state.params['net'], index, normalised(v), trusted, LR)
  if strategy.normalise:  # through the quotient
    total = v.sum(-1, keepdims=True)
    slope = (slope - (slope * v).sum(-1, keepdims=True) / total) / total
  else:
    slope = slope / v.shape[-1]
  out = slope * v * (1 - v)  # by the output before the sigmoid, [M, B]
  back = out[..., None] * own['kernel'][:, None] * (hidden > 0)
  grad = {
    'hidden_kernel': (back * per[..., None]).sum(1),
    'hidden_bias': back.sum(1),
    'kernel': (out[..., None] * hidden).sum(1),
    'bias': out.sum(1),
  }
  grad = {k: g + 1e-4 * own[k] for k, g in grad.items()}
  new = {k: own[k] - OWN['lr'] * g / (np.abs(g) + 1e-8) for k, g in grad.items()}  # Adam's first step
  return normalised(forward(new, per)[1]), grad


def check(name, strategy):
  phase, _, state = entered(strategy)
  index, trusted = rows_of(TRAINED), rows_of(TRUSTED)
  net = state.params['net']
  per = cross_entropy(logits_of(net, PIXELS[index]), GIVEN[index])
  weights = l2rw_weights if name.startswith('l2rw') else mwn_weights
  share, grad = weights(state, index, trusted, per, strategy)
  new, metrics = tiny.advance(phase, state, DATA)
  assert_descended(new, *descended(net, PIXELS[index], errors(net, index, GIVEN) * share[..., None]))
  assert_allclose(tiny.mean(metrics, 'loss'), per.mean(), rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'objective'), (share * per).sum(), rtol=1e-4)
  if weights is l2rw_weights:
    assert 0 < tiny.mean(metrics, 'chosen') < 1
    assert_allclose(tiny.mean(metrics, 'chosen'), (share > 0).mean(), rtol=1e-6)
  for key, g in grad.items():  # Adam's first moment is (1 − 0.9) of the gradient
    assert_allclose(new.opt['own'][1][0].mu[key], 0.1 * g, rtol=2e-3, atol=1e-6)
    assert not np.allclose(new.params['own'][key], state.params['own'][key], atol=0.1)


@pytest.mark.parametrize('name', BUILT)
def test_one_step_as_the_reference_takes_it_and_no_other(name):
  if name in ('l2rw', 'meta_weight_net'):
    notices(lambda strategy: check(name, strategy), BUILT[name])
  else:
    check(name, BUILT[name])


# --- the gradient by the weights ------------------------------------------------------------------


class Fast(nn.Module):
  """The CPU's convolution, which knows no forward mode, and batch norm."""

  classes: int = CLASSES

  @nn.compact
  def __call__(self, images, train):
    x = Conv(3, (3, 3), (2, 2), kind='matmul')(images)
    x = nn.gelu(nn.BatchNorm(not train, momentum=0.9)(x)).mean((1, 2))
    return nn.Dense(self.classes, name='head')(x), x


def objective(strategy, model=None, rate=1.0):
  """Returns `loss_after` as a function of the weights [M, 16], and the training batch; its last two rows do not count.

  Also the state, and the trusted batch's rows.
  """
  phase = phase_of(strategy)
  if model is not None:
    phase = tiny.phase(strategy, tiny.spec(strategy.networks, model))
  state = tiny.start(phase, DATA)
  index, trusted = rows_of(TRAINED), rows_of(TRUSTED)
  image = lambda rows: jnp.asarray(np.asarray(DATA.images)[rows], jnp.float32)
  weight = jnp.ones(BATCH).at[-2:].set(0.0)
  train = {'weak': image(index), 'weight': weight, 'target': jnp.asarray(GIVEN[index], jnp.float32), 'index': index}
  clean = {'weak': image(trusted), 'weight': jnp.ones(BATCH), 'index': trusted}
  labels = jnp.asarray(DATA.verified)

  def after(weight):
    ctx = Ctx(step_key(state), 0, 1.0, 0.0, CLASSES, phase.spec.net, state, rate)
    return meta.loss_after(lambda per: weight, state.params['net'], train, clean, labels, rate, ctx)

  return after, state, index, trusted


@pytest.mark.parametrize('rate, at', [(1.0, 0.0), (0.3, 0.0), (0.3, 0.05)])
def test_slope_is_minus_the_rate_times_the_product_of_gradients(rate, at):
  after, state, index, trusted = objective(two(l2rw.Strategy), rate=rate)
  weight = jnp.full((2, BATCH), at)
  slope = jax.jit(jax.grad(lambda w: after(w).sum()))(weight)
  counted = np.asarray(weight).copy()
  counted[:, -2:] = 0
  want = slopes(state.params['net'], index, counted, trusted, rate)
  want[:, -2:] = 0
  assert_allclose(slope, want, rtol=1e-3, atol=1e-5)


def test_networks_do_not_couple():
  after, *_ = objective(two(l2rw.Strategy))
  jacobian = jax.jit(jax.jacrev(after))(jnp.full((2, BATCH), 0.02))  # [M, M, B]
  assert jacobian[0, 0].any() and jacobian[1, 1].any()
  assert not jacobian[0, 1].any() and not jacobian[1, 0].any()


def test_slope_equals_finite_differences_through_batch_norm_and_the_fast_convolution():
  after, *_ = objective(l2rw.Strategy.build(), Fast(), rate=2.0)
  weight = jnp.asarray(np.random.default_rng(0).random((1, BATCH)) / BATCH, jnp.float32)
  value = jax.jit(lambda w: after(w).sum())
  check_grads(value, (weight,), order=1, modes=['rev'], atol=2e-3, rtol=1e-2, eps=1e-3)
  assert np.abs(jax.jit(jax.grad(value))(weight)).max() > 0.05  # so that the tolerance says something


# --- what the methods promise ---------------------------------------------------------------------


def test_nothing_but_the_weighted_forward_pass_moves_statistics():
  moved = []
  for strategy in (naive, l2rw, meta_weight_net):
    reuse = {} if strategy is naive else {'reuse': True}
    phase = tiny.phase(strategy.Strategy.build(**reuse), rows=IN)
    moved.append(tiny.advance(phase, tiny.start(phase, DATA), DATA)[0].stats)
  for other in moved[1:]:
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5, atol=1e-7), other, moved[0])


def test_without_verified_rows_l2rw_learns_nothing_and_a_weight_network_only_decays():
  data = tiny.data()
  for strategy in (BUILT['l2rw'], BUILT['meta_weight_net']):
    phase = phase_of(strategy, data, rows=np.ones(ROWS, bool))
    state = tiny.start(phase, data)
    new, metrics = tiny.advance(phase, state, data)
    assert all(np.isfinite(np.asarray(v)).all() for v in metrics.values()) and int(new.bad_step) < 0
    if strategy is BUILT['l2rw']:
      assert tiny.same(new.params, state.params) and tiny.mean(metrics, 'objective') == 0
    else:
      assert not tiny.same(new.params['net'], state.params['net'])
      for key, old in state.params['own'].items():
        assert_allclose(new.opt['own'][1][0].mu[key], 0.1 * 1e-4 * old, rtol=1e-4)


def test_l2rw_drops_the_mislabeled_twins_of_verified_rows():
  given = np.arange(ROWS, dtype=np.int32) % CLASSES
  truth = (np.arange(ROWS) // CLASSES % CLASSES).astype(np.int32)  # a third of the given labels are right
  images = np.full((ROWS, 8, 8, 1), 128, np.uint8)
  images[np.arange(ROWS), truth] = 255  # a bright line
  data = TrainData(images, given, np.where(np.arange(ROWS) < 18, truth, -1).astype(np.int32), CLASSES)
  phase = phase_of(BUILT['l2rw'], data, rows=np.ones(ROWS, bool))
  state = tiny.start(phase, data)
  state = state.replace(params=jax.tree.map(jnp.zeros_like, state.params))
  new, _ = tiny.advance(phase, state, data)
  index = rows_of(data.verified < 0)
  assert 0 < (given == truth)[index].sum() < BATCH
  assert_array_equal(new.dynamics.chosen[0, index], (given == truth)[index])


def test_the_verified_label_counts_and_not_the_given_one():
  phase = phase_of(BUILT['l2rw'])
  state = tiny.start(phase, DATA)
  trusted = np.flatnonzero(TRUSTED)
  assert_array_equal(np.flatnonzero(state.masks['trusted']), trusted)
  assert (DATA.given[trusted] < 0).any() and (DATA.given[trusted] != DATA.verified[trusted]).any()
  assert_array_equal(state.masks['train'], TRAINED)
  reused = tiny.start(phase_of(l2rw.Strategy.build(reuse=True)), DATA)
  assert_array_equal(reused.masks['train'], LABELED)


def test_weight_network_begins_as_pytorch_begins_its_layers():
  own, extra = meta_weight_net.Strategy.build(hidden=400).init(jax.random.key(0), DATA)
  assert {k: v.shape for k, v in own.items()} == {
    'hidden_kernel': (1, 400),
    'hidden_bias': (1, 400),
    'kernel': (1, 400),
    'bias': (1,),
  }
  for name, bound in (('hidden_kernel', 1.0), ('hidden_bias', 1.0), ('kernel', 0.05)):
    assert 0.95 * bound < np.abs(own[name]).max() <= bound and abs(own[name].mean()) < 0.1 * bound
  assert_array_equal(extra['verified'], DATA.verified)
