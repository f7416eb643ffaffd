"""Networks: published sizes, the seed's Keras numbers, what training mode may change, and compute types."""

import functools
import importlib
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.preact_resnet18 import PreActBlock
from noisyjax.models.resnet import BasicBlock, layers
from noisyjax.system.errors import UserError

# Every network, small: (fields beside `classes`, image size).
SMALL = {
  'resnet18': ({'width': 1 / 16}, 16),
  'preact_resnet18': ({'width': 1 / 16}, 16),
  'wrn28_2': ({'width': 1 / 4}, 8),
  'wrn28_10': ({'width': 1 / 4}, 8),
  'model_1': ({}, 8),
  'model_2': ({}, 8),
  'cnn9': ({}, 28),
}


def random_key(seed):
  return jax.random.key(seed, impl='rbg')  # compiles many times faster than the default, threefry


def build(name, **fields):
  return importlib.import_module(f'noisyjax.models.{name}').Model(**{'classes': 10, **fields})


def shapes_of(model, size=32, channels=3):
  """Shapes of all variables, computing nothing."""
  return jax.eval_shape(lambda: model.init(random_key(0), jnp.zeros((1, size, size, channels)), train=False))


def count(tree):
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def wave(shape, shift):
  return np.sin(0.7 * (np.arange(math.prod(shape)) % 1009) + shift).reshape(shape)


def wave_weights(path, leaf):
  """A value for every variable by formula: no random numbers, the same in Keras' script."""
  shape = leaf.shape
  match path[-1].key:
    case 'kernel':
      value = wave(shape, 1) * math.sqrt(2 / math.prod(shape[:-1]))
    case 'bias':  # of a layer, or beta
      value = 0.1 * wave(shape, 2)
    case 'scale':  # gamma
      value = 1 + 0.3 * wave(shape, 3)
    case 'mean':
      value = 0.2 * wave(shape, 4)
    case 'var':
      value = 0.2 + 0.1 * wave(shape, 5)
  return value.astype(np.float32)


def wave_images(count, size):
  values = 1.25 + 1.25 * np.sin(np.arange(count * size * size * 3) ** 1.5)
  return values.reshape(count, size, size, 3).astype(np.float32)


@pytest.fixture(scope='module', params=SMALL)
def small(request):
  """→ name, fields, variables, two images."""
  fields, size = SMALL[request.param]
  shapes = shapes_of(build(request.param, **fields), size)
  return request.param, fields, jax.tree_util.tree_map_with_path(wave_weights, shapes), wave_images(2, size)


@pytest.mark.parametrize('name', ['resnet18', 'preact_resnet18'])
def test_a_network_begins_as_pytorch_begins_its_layers(name):
  model = build(name, width=1 / 4, initial='torch')
  params = jax.jit(lambda: model.init(random_key(0), jnp.zeros((1, 8, 8, 3)), train=False)['params'])()
  for path in (('stem_conv',), ('stage2_block1', 'conv1'), ('stage2_block1', 'shortcut_conv'), ('head',)):
    kernel = functools.reduce(lambda tree, key: tree[key], path, params)['kernel']
    bound = 1 / math.sqrt(math.prod(kernel.shape[:-1]))
    assert 0.95 * bound < np.abs(kernel).max() <= bound and abs(kernel.std() * math.sqrt(3) / bound - 1) < 0.1
  with pytest.raises(UserError, match=r"model\.initial: unknown value 'xavier'"):
    shapes_of(build(name, initial='xavier'))


@functools.lru_cache
def compiled(model, train):
  """One compilation serves all tests that run this model in this mode."""
  is_dropout = lambda module, _: isinstance(module, Dropout)
  mutable = ['batch_stats', 'intermediates']
  return jax.jit(
    lambda v, x, key: model.apply(
      v, x, train=train, rngs={'dropout': key}, mutable=mutable, capture_intermediates=is_dropout
    )
  )


def forward(model, variables, images, train=False, key=2):
  """→ (logits, features), {'batch_stats': after the call, 'intermediates': what left each dropout}."""
  return compiled(model, train)(variables, images, random_key(key))


# Sizes


@pytest.mark.parametrize(
  'name, fields, expected',
  [
    ('resnet18', {}, 11_173_962),  # kuangliu/pytorch-cifar
    ('resnet34', {}, 21_282_122),
    ('preact_resnet18', {}, 11_171_274),
    ('wrn28_10', {}, 36_479_194),
    ('wrn28_2', {}, 1_467_610 - 2 * (32 + 64)),  # without the two normalizations that USB computes and does not use
    ('resnet18', {'stem': 'imagenet', 'classes': 1000}, 11_689_512),  # torchvision
    ('resnet34', {'stem': 'imagenet', 'classes': 1000}, 21_797_672),
    ('resnet50', {'classes': 1000}, 25_557_032),
    ('cnn9', {}, 4_434_570),
    ('model_1', {}, 142_618),  # Keras: trainable
    ('model_2', {}, 3_722_122),
  ],
)
def test_parameter_count_is_the_published_one(name, fields, expected):
  assert count(shapes_of(build(name, **fields))['params']) == expected


@pytest.mark.parametrize('name, expected', [('model_1', 142_624), ('model_2', 3_722_634)])
def test_seed_models_count_statistics_as_keras_count_params_does(name, expected):
  assert count(shapes_of(build(name))) == expected


@pytest.mark.parametrize(
  'name, features', [('resnet18', 512), ('resnet34', 512), ('preact_resnet18', 512), ('wrn28_10', 64)]
)
@pytest.mark.parametrize('width', [1.0, 0.25])
def test_width_multiplies_features(name, features, width):
  model = build(name, classes=7, width=width)
  out = jax.eval_shape(lambda: model.init_with_output(random_key(0), jnp.zeros((2, 32, 32, 3)), train=False)[0])
  assert [o.shape for o in out] == [(2, 7), (2, features * width)]


def test_imagenet_stem_takes_large_images_to_a_quarter():
  model = build('resnet18', stem='imagenet', width=1 / 16)
  stages = jax.eval_shape(
    lambda: model.init_with_output(random_key(0), jnp.zeros((1, 224, 224, 3)), train=False, capture_intermediates=True)[
      1
    ]['intermediates']
  )
  assert stages['stem_conv']['__call__'][0].shape == (1, 112, 112, 4)
  assert stages['stage1_block1']['__call__'][0].shape == (1, 56, 56, 4)
  assert stages['stage4_block2']['__call__'][0].shape == (1, 7, 7, 32)


def test_unknown_stem_lists_the_choices():
  with pytest.raises(UserError, match=r"model.stem.*'cifra'.*Did you mean 'cifar'.*imagenet"):
    shapes_of(build('resnet18', stem='cifra'))


def test_cnn9_refuses_images_that_its_unpadded_layers_would_consume():
  with pytest.raises(UserError, match=r'27 x 27.*28 x 28'):
    shapes_of(build('cnn9'), size=27)


@pytest.mark.parametrize('name', [*SMALL, 'resnet34'])
def test_gray_images_and_the_head_by_name(name):
  shapes = shapes_of(build(name, classes=4), size=28, channels=1)
  assert shapes['params']['head']['kernel'].shape[-1] == 4


# Modes, convolution kinds, compute types


def test_logits_and_features_are_float32_of_the_head(small):
  name, fields, variables, images = small
  (logits, features), _ = forward(build(name, **fields), variables, images)
  assert logits.shape == (2, 10) and features.ndim == 2 and features.dtype == logits.dtype == jnp.float32
  head = variables['params']['head']
  assert_allclose(features @ head['kernel'] + head['bias'], logits, rtol=1e-4, atol=1e-5)


def test_train_moves_every_statistic_and_evaluation_none(small):
  name, fields, variables, images = small
  before = variables['batch_stats']
  _, looked = forward(build(name, **fields), variables, images, train=False)
  jax.tree.map(assert_array_equal, looked['batch_stats'], before)
  _, trained = forward(build(name, **fields), variables, images, train=True)
  unmoved = jax.tree.map(lambda a, b: bool((a == b).all()), trained['batch_stats'], before)
  assert not any(jax.tree.leaves(unmoved)), unmoved


def test_both_convolutions_give_the_same_network(small):
  name, fields, variables, images = small
  (plain, _), _ = forward(build(name, conv='plain', **fields), variables, images)
  (matmul, _), _ = forward(build(name, conv='matmul', **fields), variables, images)
  assert_allclose(matmul, plain, rtol=1e-3, atol=1e-4)


def test_bfloat16_keeps_parameters_statistics_and_outputs_float32(small):
  name, fields, variables, images = small
  model = build(name, dtype='bfloat16', **fields)
  initial = shapes_of(model, size=images.shape[1])
  assert jax.tree.map(lambda s: (s.shape, s.dtype), initial) == jax.tree.map(lambda a: (a.shape, a.dtype), variables)
  apply = lambda v, x: model.apply(v, x, train=True, rngs={'dropout': random_key(0)}, mutable=['batch_stats'])
  after = jax.eval_shape(apply, variables, images)
  assert {leaf.dtype for leaf in jax.tree.leaves((initial, after))} == {jnp.dtype('float32')}


@pytest.mark.parametrize('name', ['model_1', 'model_2'])
def test_bfloat16_computes_nearly_the_same(name):
  model, images = build(name, dtype='bfloat16'), wave_images(2, 8)
  variables = jax.tree_util.tree_map_with_path(wave_weights, shapes_of(model, 8))
  (low, _), _ = forward(model, variables, images)
  (full, _), _ = forward(build(name), variables, images)
  assert 0 < np.abs(low - full).max() < 0.05 * np.abs(full).max()


def test_dropout_acts_in_training_only(small):
  name, fields, variables, images = small
  model = build(name, **fields)
  logits = lambda train, key: forward(model, variables, images, train, key)[0][0]
  assert_array_equal(logits(False, 1), logits(False, 2))
  assert bool((logits(True, 1) != logits(True, 2)).any()) == hasattr(model, 'dropout')


def test_cnn9_drops_whole_channels():
  model = build('cnn9')
  variables = jax.tree_util.tree_map_with_path(wave_weights, shapes_of(model, 28))
  _, state = forward(model, variables, wave_images(2, 28), train=True)
  first, second = (state['intermediates'][f'Dropout_{i}']['__call__'][0] for i in range(2))
  assert first.shape == (2, 14, 14, 128) and second.shape == (2, 7, 7, 256)
  for maps in (first, second):
    zero = maps == 0
    assert_array_equal(zero.all((1, 2)), zero.any((1, 2)))
    assert 0.15 < zero.mean() < 0.35  # the rate, 0.25


# The seed's Keras models. `KERAS` holds what Keras 3.15 (TensorFlow 2.21, float32) computed for the layers listed in
# the seed, with the weights of `wave_weights`, dropout 0 and `wave_images(4, 12)`.


KERAS = {
  'model_1': {
    'eval': [  # the first four logits of each image
      [0.964282, 1.24261, 0.936519, 0.189969],
      [-0.224938, -0.136403, 0.016285, 0.161314],
      [-0.270704, 0.1603, 0.515913, 0.628884],
      [1.866484, 1.834243, 0.939329, -0.397366],
    ],
    'train': [
      [0.399305, 0.790313, 0.809624, 0.448157],
      [0.608637, 0.847402, 0.68762, 0.20444],
      [-0.248557, -0.549357, -0.591786, -0.355889],
      [0.985604, 0.473537, -0.261241, -0.873154],
    ],
    # After that one training step: moving mean and variance of the first three channels, then their sums.
    'norm': ([-0.1374848, -0.1857611, -0.1401163], [0.1107752, 0.151508, 0.2173318], -0.4633622, 0.4796149),
  },
  'model_2': {
    'eval': [
      [-41.641865, -8.346749, 28.873974, 52.51481],
      [89.90851, 57.567036, -1.849123, -60.395615],
      [38.91164, 23.930216, -2.305964, -27.457613],
      [-35.485832, -23.762424, -0.863178, 22.442032],
    ],
    'train': [
      [-5.892534, -1.301668, 3.901392, 7.269569],
      [8.678381, 5.203878, -0.718089, -6.302329],
      [4.167624, 2.614997, -0.167503, -2.871223],
      [-4.62217, -4.228738, -1.846465, 1.40423],
    ],
    'norm1': ([-0.1461691, -0.1941592, -0.1492882], [0.1060745, 0.1465742, 0.212258], 0.0669310, 25.545559),
    'norm2': ([-0.1464394, -0.1947649, -0.1505509], [0.105081, 0.1452462, 0.2108627], -0.0101131, 12.660079),
    'norm3': ([-0.1200484, -0.1666958, -0.1346439], [0.216252, 0.27488, 0.2584799], 1.0307208, 16.136005),
  },
}


@pytest.fixture(scope='module', params=KERAS)
def keras(request):
  model = build(request.param, dropout=0.0)
  variables = jax.tree_util.tree_map_with_path(wave_weights, shapes_of(model, size=12))
  return KERAS[request.param], model, variables


def test_evaluation_equals_keras(keras):
  golden, model, variables = keras
  (logits, _), _ = forward(model, variables, wave_images(4, 12), train=False)
  assert_allclose(logits[:, :4], golden['eval'], rtol=1e-4, atol=1e-4)


def test_training_forward_and_moving_statistics_equal_keras(keras):
  golden, model, variables = keras
  (logits, _), moved = forward(model, variables, wave_images(4, 12), train=True)
  assert_allclose(logits[:, :4], golden['train'], rtol=1e-4, atol=1e-4)
  for norm, stats in moved['batch_stats'].items():
    mean, var, mean_sum, var_sum = golden[norm]
    assert_allclose(stats['mean'][:3], mean, atol=1e-5)
    assert_allclose(stats['var'][:3], var, atol=1e-5)
    assert_allclose([stats['mean'].sum(), stats['var'].sum()], [mean_sum, var_sum], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
  'name, order',
  [
    ('model_1', 'norm conv1 conv2 Dropout_0 dense head'),
    ('model_2', 'conv1 Dropout_0 norm1 conv2 Dropout_1 norm2 dense Dropout_2 norm3 head'),
  ],
)
def test_layers_come_in_the_seeds_order(name, order):
  called = []

  def record(call, args, kwargs, context):
    if context.method_name == '__call__' and len(context.module.path) == 1:
      called.append(context.module.name)
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    shapes_of(build(name))
  assert called == order.split()


@pytest.mark.parametrize('name', ['model_1', 'model_2'])
def test_seed_models_start_as_keras_does(name):
  params = jax.jit(lambda: build(name).init(random_key(0), jnp.zeros((1, 12, 12, 3)), train=False)['params'])()
  for layer in ('conv1', 'conv2', 'dense', 'head'):
    kernel = params[layer]['kernel']
    receptive = math.prod(kernel.shape[:-2])
    limit = math.sqrt(6 / (receptive * sum(kernel.shape[-2:])))  # Glorot uniform
    assert np.abs(kernel).max() <= limit
    assert_allclose(kernel.std(), limit / math.sqrt(3), rtol=0.1)
    assert not params[layer]['bias'].any()


# Residual blocks against the formula


def convolve(x, kernel, stride, pad):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def normalize(x, params, stats):
  return (x - stats['mean']) / np.sqrt(stats['var'] + 1e-5) * params['scale'] + params['bias']


@pytest.mark.parametrize('block, stride', [(BasicBlock, 1), (BasicBlock, 2), (PreActBlock, 1), (PreActBlock, 2)])
def test_block_is_its_formula(block, stride):
  x = jax.random.normal(random_key(0), (2, 6, 6, 4))
  module = block(4 * stride, (stride, stride), *layers('plain', 'float32', train=False))
  variables = jax.tree_util.tree_map_with_path(wave_weights, jax.eval_shape(module.init, random_key(0), x))
  p, s = variables['params'], variables['batch_stats']

  def conv(y, name, stride=1):
    return convolve(y, p[name]['kernel'], stride, len(p[name]['kernel']) // 2)

  def norm(y, name):
    return normalize(y, p[name], s[name])

  if block is BasicBlock:
    y = norm(conv(nn.relu(norm(conv(x, 'conv1', stride), 'norm1')), 'conv2'), 'norm2')
    expected = nn.relu(y + (norm(conv(x, 'shortcut_conv', stride), 'shortcut_norm') if stride > 1 else x))
  else:
    a = nn.relu(norm(x, 'norm1'))
    y = conv(nn.relu(norm(conv(a, 'conv1', stride), 'norm2')), 'conv2')
    expected = y + (conv(a, 'shortcut_conv', stride) if stride > 1 else x)
  assert_allclose(module.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
  'name, slope, keep, epsilon, raw', [('wrn28_10', 0, 0.9, 1e-5, ()), ('wrn28_2', 0.1, 0.999, 1e-3, (2, 3))]
)
def test_a_wide_network_is_its_formula(name, slope, keep, epsilon, raw):
  """USB: semilearn/nets/wrn/wrn.py, revision 1ef4cbe; WRN-28-10: xjtushujun/meta-weight-net, wideresnet.py, 3f1800f."""
  model, images = build(name, width=1 / 4), wave_images(2, 8)
  variables = jax.tree_util.tree_map_with_path(wave_weights, shapes_of(model, 8))
  p, s = variables['params'], variables['batch_stats']
  act = lambda y: np.maximum(y, slope * y)
  x = convolve(images, p['stem_conv']['kernel'], 1, 1)
  for stage, number in ((a, b) for a in (1, 2, 3) for b in (1, 2, 3, 4)):
    own, stats = p[f'stage{stage}_block{number}'], s[f'stage{stage}_block{number}']
    stride, first = 2 if stage > 1 and number == 1 else 1, number == 1
    y = x if first and stage in raw else act(normalize(x, own['norm1'], stats['norm1']))
    x = convolve(y, own['shortcut_conv']['kernel'], stride, 0) if first else x
    y = convolve(y, own['conv1']['kernel'], stride, 1)
    x += convolve(act(normalize(y, own['norm2'], stats['norm2'])), own['conv2']['kernel'], 1, 1)
  last, moving = p['last_norm'], s['last_norm']
  x = act((x - moving['mean']) / np.sqrt(moving['var'] + epsilon) * last['scale'] + last['bias']).mean((1, 2))
  (logits, _), _ = forward(model, variables, images)
  expected = x @ p['head']['kernel'] + p['head']['bias']
  assert_allclose(logits, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
  _, moved = forward(model, variables, images, train=True)
  norm = lambda tree: tree['stage1_block1']['norm1']['mean']
  seen = convolve(images, p['stem_conv']['kernel'], 1, 1).mean((0, 1, 2))
  assert_allclose(norm(moved['batch_stats']), keep * norm(s) + (1 - keep) * seen, rtol=1e-4, atol=1e-6)


def test_resnet_convolutions_start_he_normal_over_fan_out():
  conv, _ = layers('plain', 'float32', train=True)
  params = conv(128, 3).init(random_key(0), jnp.zeros((1, 1, 1, 96)))['params']
  kernel = params['kernel']  # [3, 3, 96, 128]
  assert_allclose(kernel.std(), math.sqrt(2 / (9 * 128)), rtol=0.02)
  assert np.abs(kernel).max() > 3.5 * kernel.std()  # not truncated at two deviations
  assert 'bias' not in params


def test_resnet_normalization_keeps_nine_tenths_of_its_statistics():
  x = wave((4, 3, 3, 2), 0) * 3 + 1
  _, norm = layers('plain', 'float32', train=True)
  variables = {
    'params': {'scale': np.ones(2), 'bias': np.zeros(2)},
    'batch_stats': {'mean': np.zeros(2), 'var': np.ones(2)},
  }
  _, moved = norm().apply(variables, x, mutable=['batch_stats'])
  assert_allclose(moved['batch_stats']['mean'], 0.1 * x.mean((0, 1, 2)), rtol=1e-4)
  assert_allclose(moved['batch_stats']['var'], 0.9 + 0.1 * x.var((0, 1, 2)), rtol=1e-4)
