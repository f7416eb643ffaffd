"""Optimizers against optax and PyTorch's rule, schedules against their formulas, and independence of networks."""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.engine import optim
from noisyjax.engine.optim import Optimizer

NETWORKS, STEPS = 2, 4
LR, DECAY = np.float32(0.07), np.float32(0.03)


def tree(seed, networks=NETWORKS):
  """Parameters, or gradients, of small networks: a leading axis M on each leaf."""
  rng = np.random.default_rng(seed)
  leaf = lambda *shape: jnp.asarray(rng.normal(size=(networks, *shape)), jnp.float32)
  return {'conv': {'kernel': leaf(3, 4), 'bias': leaf(4)}, 'norm': {'scale': leaf(4)}, 'head': {'kernel': leaf(4, 2)}}


update = jax.jit(lambda optimizer, *args: optimizer.update(*args))


def run(optimizer, params, grads, lr=LR, decay=DECAY):
  """Returns the params after one update for each tree of `grads`."""
  optimizer = jax.tree.map(np.float32, dataclasses.replace(optimizer, decay=decay))
  opt = optimizer.init(params)
  for g in grads:
    params, opt = update(optimizer, g, opt, params, lr)
  return params


def reference(make, params, grads):
  """The same updates by a separate optax transformation for each network."""
  outs = []
  for m in range(NETWORKS):
    tx = make()
    take = lambda t, m=m: jax.tree.map(lambda a: a[m], t)
    own = take(params)
    opt = tx.init(own)
    for g in grads:
      step, opt = tx.update(take(g), opt, own)
      own = optax.apply_updates(own, step)
    outs.append(own)
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outs)


kernels = lambda params: jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == 'kernel', params)
l2 = lambda: optax.add_decayed_weights(DECAY, kernels)
CASES = {
  'sgd': (Optimizer('sgd', momentum=0.0), lambda: optax.chain(l2(), optax.sgd(LR))),
  'momentum': (Optimizer('sgd', momentum=0.8), lambda: optax.chain(l2(), optax.sgd(LR, 0.8))),
  'nesterov': (Optimizer('sgd', nesterov=True), lambda: optax.chain(l2(), optax.sgd(LR, 0.9, nesterov=True))),
  'adam': (Optimizer('adam', b1=0.8), lambda: optax.chain(l2(), optax.adam(LR, b1=0.8))),
  'adamw': (Optimizer('adamw', b2=0.9), lambda: optax.adamw(LR, b2=0.9, weight_decay=DECAY, mask=kernels)),
  'nadam': (Optimizer('nadam', eps=1e-3), lambda: optax.chain(l2(), optax.nadam(LR, eps=1e-3))),
  'clip': (Optimizer('sgd', clip=0.5), lambda: optax.chain(optax.clip_by_global_norm(0.5), l2(), optax.sgd(LR, 0.9))),
}


@pytest.mark.parametrize('name', CASES)
def test_each_network_follows_its_own_optax_chain(name):
  optimizer, make = CASES[name]
  params, grads = tree(0), [tree(i) for i in range(1, STEPS)]
  got, want = run(optimizer, params, grads), reference(make, params, grads)
  jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=2e-5, atol=4e-6), got, want)  # 1 - b2 in float32


def test_every_optimizer_has_a_reference():
  assert {o.name for o, _ in CASES.values()} == set(optim.OPTIMIZERS)


def test_momentum_and_decay_as_pytorch_defines_them():
  # torch.optim.SGD: d = g + decay p; buf = momentum buf + d; p -= lr buf (nesterov: p -= lr (d + momentum buf)).
  params, grads = tree(0), [tree(i) for i in range(1, 6)]
  for nesterov in (False, True):
    p = np.asarray(params['conv']['kernel'], np.float64)
    buf = np.zeros_like(p)
    for g in grads:
      d = np.asarray(g['conv']['kernel'], np.float64) + 0.03 * p
      buf = 0.9 * buf + d
      p = p - 0.07 * (d + 0.9 * buf if nesterov else buf)
    got = run(Optimizer('sgd', momentum=0.9, nesterov=nesterov), params, grads)
    assert_allclose(got['conv']['kernel'], p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
def test_decay_shrinks_kernels_and_by_config_all_the_rest(name):
  params = tree(0)
  still = jax.tree.map(jnp.zeros_like, params)
  shrunk = run(Optimizer(name), params, [still])
  assert_array_equal(shrunk['conv']['bias'], params['conv']['bias'])
  assert_array_equal(shrunk['norm']['scale'], params['norm']['scale'])
  for layer in ('conv', 'head'):
    assert_allclose(shrunk[layer]['kernel'], params[layer]['kernel'] * (1 - LR * DECAY), rtol=1e-6)
  everything = run(Optimizer(name, kernels_only=False), params, [still])
  jax.tree.map(lambda a, b: assert_allclose(a, b * (1 - LR * DECAY), rtol=1e-6), everything, params)


@pytest.mark.parametrize('optimizer', [Optimizer('sgd', clip=1.0), Optimizer('adamw', clip=1.0), Optimizer('nadam')])
def test_networks_never_couple(optimizer):
  params, grads = tree(0), [tree(1), tree(2)]
  spoiled = lambda tree, value: jax.tree.map(lambda a: a.at[1].set(value), tree)
  wild = [spoiled(grads[0], jnp.nan), spoiled(grads[1], 1e9)]
  calm, beside = run(optimizer, params, grads), run(optimizer, params, wild)
  jax.tree.map(lambda a, b: assert_array_equal(a[0], b[0]), calm, beside)
  assert np.isnan(beside['conv']['bias'][1]).all()


def test_frozen_parameters_stay_and_do_not_use_up_the_clip():
  params, grads = tree(0), [tree(1), tree(2)]
  got = run(Optimizer('sgd', clip=0.1, freeze='^conv|norm'), params, grads)
  assert_array_equal(got['conv']['kernel'], params['conv']['kernel'])
  assert_array_equal(got['conv']['bias'], params['conv']['bias'])
  assert_array_equal(got['norm']['scale'], params['norm']['scale'])
  alone = run(Optimizer('sgd', clip=0.1), {'head': params['head']}, [{'head': g['head']} for g in grads])
  assert_allclose(got['head']['kernel'], alone['head']['kernel'], rtol=1e-6)


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_each_block_moves_by_the_layer_decay_to_the_power_of_its_depth(name):
  """Golden: one step of three blocks, weight decay included, of which the last is the head."""
  params, grads = tree(0), [tree(1)]
  plain = run(Optimizer(name), params, grads)
  decayed = run(Optimizer(name, layer_decay=0.5, blocks=('conv', 'norm', 'head')), params, grads)
  for block, scale in {'conv': 0.25, 'norm': 0.5, 'head': 1.0}.items():
    for leaf, start in params[block].items():
      assert_allclose(decayed[block][leaf] - start, scale * (plain[block][leaf] - start), rtol=1e-4, atol=1e-7)
  assert jax.tree.all(jax.tree.map(np.array_equal, run(Optimizer(name, layer_decay=0.5), params, grads), plain))


@pytest.mark.parametrize(
  'name, deepest', [('resnet18', 9), ('resnet34', 17), ('resnet50', 17), ('efficientnet_lite0', 18)]
)
def test_models_order_all_their_layers(name, deepest):
  model, called = importlib.import_module(f'noisyjax.models.{name}').Model(3), []

  def noted(call, args, kwargs, context):
    called.extend(context.module.path[:1])
    return call(*args, **kwargs)

  with nn.intercept_methods(noted):
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), train=False))['params']
  found = optim.depths(model.order(), shapes)
  of_layer = {layer: {*jax.tree.leaves(leaves)} for layer, leaves in found.items()}
  assert all(len(depth) == 1 for depth in of_layer.values())
  assert [layer for layer, depth in of_layer.items() if depth == {0}] == ['head']
  assert set().union(*of_layer.values()) == set(range(deepest + 1))
  depths = [min(of_layer[layer]) for layer in called if layer in of_layer]  # in the order of the calls
  assert depths == sorted(depths, reverse=True)


@pytest.mark.parametrize('name', ['sgd', 'adam', 'adamw', 'nadam'])
def test_every_number_is_traced(name):
  traces = []
  params, grads = tree(0), tree(1)

  @jax.jit
  def update(optimizer, grads, opt, params):
    traces.append(optimizer)
    return optimizer.update(grads, opt, params, optimizer.lr)

  numbers = {
    'lr': 0.1,
    'decay': 0.1,
    'momentum': 0.5,
    'b1': 0.5,
    'b2': 0.6,
    'eps': 1e-3,
    'clip': 1.0,
    'layer_decay': 0.7,
  }
  results = []
  for change in ({}, *({k: v} for k, v in numbers.items())):
    optimizer = Optimizer(
      name=name, **({'lr': 0.2, 'decay': 0.01, 'clip': 2.0, 'blocks': ('conv', 'norm', 'head')} | change)
    )
    new, _ = update(optimizer, grads, optimizer.init(params), params)
    results.append(new)
  assert len(traces) == 1
  assert not np.array_equal(results[0]['conv']['kernel'], results[1]['conv']['kernel'])


def schedule(**numbers):
  numbers = {'warmup': 0.0, 'final': 0.0, 'factor': 0.1, 'milestones': (), 'restart': 5.0, 'peak': 0.25} | numbers
  return optim.Schedule(**{k: np.asarray(v, np.float32) for k, v in numbers.items()})


def rates(kind, epochs, of=20.0, scale=1.0, **numbers):
  """Learning rates at these epochs of a phase of `of` epochs."""
  one = lambda e: optim.learning_rate(kind, np.float32(0.4), schedule(**numbers), e, np.float32(of), np.float32(scale))
  return np.asarray(jax.vmap(one)(jnp.asarray(epochs, jnp.float32)))


T = np.linspace(0, 19.9, 50)


def test_constant():
  assert_allclose(rates('constant', T), 0.4)


def test_warm_up_rises_from_zero_in_a_line():
  assert_allclose(rates('constant', [0, 1, 2, 4, 10], warmup=4.0), [0, 0.1, 0.2, 0.4, 0.4], rtol=1e-6)


def test_cosine():
  want = 0.4 * (0.1 + 0.9 * (1 + np.cos(np.pi * T / 20)) / 2)
  assert_allclose(rates('cosine', T, final=0.1), want, rtol=1e-5)


def test_cosine_begins_to_fall_where_the_warm_up_ends():
  t = np.array([2.0, 4.0, 12.0, 20.0])
  want = [0.2, 0.4, 0.2, 0.0]
  assert_allclose(rates('cosine', t, warmup=4.0), want, atol=1e-6)


def test_quarter_cosine_is_the_schedule_of_fixmatch():
  """max(0, cos(7πk/16K)) at step k of K, as USB's get_cosine_schedule_with_warmup returns it; 52 steps an epoch."""
  steps, K = np.array([0, 1, 200, 519, 520, 1039]), 20 * 52
  want = 0.4 * np.maximum(0, np.cos(7 * np.pi * steps / (16 * K)))
  assert_allclose(rates('quarter_cosine', steps / 52, final=np.cos(7 * np.pi / 16)), want, rtol=1e-5)
  assert_allclose(want[[0, 4]], [0.4, 0.4 * 0.7730105], rtol=1e-6)
  late = rates('quarter_cosine', [2.0, 4.0, 12.0], final=0.0, warmup=4.0)
  assert_allclose(late, [0.2, 0.4, 0.4 * np.cos(np.pi / 4)], rtol=1e-5)


def test_steps():
  t = [0, 4.99, 5, 9, 15, 19]
  want = 0.4 * 0.1 ** np.array([0, 0, 1, 1, 2, 2])
  assert_allclose(rates('step', t, milestones=(5.0, 15.0)), want, rtol=1e-5)


def test_one_cycle_goes_straight_up_and_straight_down():
  want = [0, 0.2, 0.4, 0.4 * (0.1 + 0.9 * 0.5), 0.04]
  assert_allclose(rates('one_cycle', [0, 2.5, 5, 12.5, 20], final=0.1, warmup=3.0), want, rtol=1e-5, atol=1e-7)


def test_warm_restarts():
  want = 0.4 * (1 + np.cos(np.pi * (T % 5) / 5)) / 2
  assert_allclose(rates('warm_restarts', T), want, rtol=1e-4, atol=1e-6)


def test_plateau_follows_control_alone():
  assert_allclose(rates('plateau', [0, 7, 19], scale=0.25), 0.1, rtol=1e-6)
  assert_allclose(rates('constant', [7], scale=0.25), 0.4)


def test_every_schedule_starts_and_stays_finite():
  for kind in optim.SCHEDULES:
    got = rates(kind, T, warmup=2.0, milestones=(5.0,))
    assert np.isfinite(got).all() and (got >= 0).all() and (got <= 0.4 + 1e-6).all(), kind
