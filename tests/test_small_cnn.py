"""The small CNN: shapes on small and odd images, whitening from data, and that it learns."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noisyjax.engine.net import PIXELS, Net
from noisyjax.models.layers.conv import KINDS, kinds
from noisyjax.models.small_cnn import Model, identity_first, whiten, whitening


def draw(*shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape, np.float32)


def smooth(n=200, size=8, channels=3, seed=0):
  """Images whose neighbouring pixels and channels are correlated, as in photos."""
  x = draw(n, size + 1, size + 1, channels, seed=seed)
  x = x[:, 1:, 1:] + x[:, :-1, 1:] + x[:, 1:, :-1] + 0.7
  return x + 2 * x.mean(-1, keepdims=True)


def initial(model, images):
  return jax.jit(model.init, static_argnums=2)(jax.random.key(0), images, False)


@pytest.mark.parametrize(
  ('shape', 'kind'),
  [((2, 32, 32, 3), 'matmul'), ((3, 8, 8, 1), 'plain'), ((1, 9, 7, 3), 'matmul'), ((2, 1, 1, 1), 'plain')],
)
def test_shapes_and_types(shape, kind):
  model = Model(10, widths=(8, 12, 16), conv=kind)
  variables = initial(model, draw(*shape))
  (logits, features), stats = jax.jit(lambda v, x: model.apply(v, x, True, mutable=['batch_stats']))(
    variables, draw(*shape)
  )
  assert logits.shape == (shape[0], 10) and features.shape == (shape[0], 16)
  assert logits.dtype == features.dtype == jnp.float32
  assert jax.tree.map(jnp.shape, stats['batch_stats']) == jax.tree.map(jnp.shape, variables['batch_stats'])
  assert all(np.isfinite(a).all() for a in jax.tree.leaves((logits, stats)))


def test_bfloat16_keeps_float32_logits_and_statistics():
  model = Model(4, dtype='bfloat16', widths=(8,))
  (logits, features), variables = jax.jit(lambda x: model.init_with_output(jax.random.key(0), x, True))(
    draw(2, 8, 8, 1)
  )
  assert {a.dtype for a in jax.tree.leaves((logits, features, variables))} == {jnp.dtype('float32')}


def test_a_mirrored_prediction_is_the_mean_of_two_and_training_is_as_ever():
  model, mirrored = (Model(4, widths=(8,), mirror=m) for m in (False, True))
  images = draw(3, 8, 8, 3)
  variables = initial(model, images)
  one, other = (model.apply(variables, x, False) for x in (images, images[:, :, ::-1]))
  want = jax.tree.map(lambda a, b: (a + b) / 2, one, other)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mirrored.apply(variables, images, False), want)
  assert np.abs(np.asarray(one[0]) - np.asarray(other[0])).max() > 1e-3
  trained = [m.apply(variables, images, True, mutable=['batch_stats']) for m in (model, mirrored)]
  jax.tree.map(np.testing.assert_array_equal, *trained)


def written_out(variables, images, train):
  """The network as its docstring has it: nothing shared, nothing left out."""
  convolve = lambda x, kernel, padding: jax.lax.conv_general_dilated(
    x, kernel, (1, 1), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )
  params, stats = variables['params'], variables['batch_stats']
  x = convolve(images, stats['whiten'].reshape(2, 2, images.shape[-1], -1), 'VALID')
  x = nn.gelu(jnp.concatenate([x, -x], -1))
  for i in range(len(params) // 2):
    x = convolve(x, params[f'Conv_{i}']['kernel'], 'SAME')
    x = x if i % 2 else nn.max_pool(x, (2, 2), (2, 2))
    norm, kept = params[f'BatchNorm_{i}'], stats[f'BatchNorm_{i}']
    mean, var = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (kept['mean'], kept['var'])
    x = nn.gelu((x - mean) / jnp.sqrt(var + 1e-5) * norm['scale'] + norm['bias'])
  return x.max((1, 2)) @ params['head']['kernel'] / 9


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('kind', KINDS)
def test_values_and_gradients_are_those_of_the_network_written_out(kind, train):
  if kind not in kinds():
    pytest.skip('this machine has no oneDNN')
  model, images = Model(5, widths=(6, 8), conv=kind), smooth(4, 17)  # 16 and 8 after whitening and pooling: 15, 7
  images = images[:, :16, :15]
  variables = model.calibrate(initial(model, images), images)
  weight = draw(4, 5, seed=1)

  def loss(params, logits):
    return (logits({**variables, 'params': params}, images, train) * weight).sum()

  ours = lambda v, x, train: model.apply(v, x, train, mutable=['batch_stats'])[0][0]
  (value, grads), (want, wanted) = (
    jax.jit(jax.value_and_grad(loss), static_argnums=1)(variables['params'], f) for f in (ours, written_out)
  )
  close = {'rtol': 0.05, 'atol': 0.05} if kind == 'amx' else {'rtol': 1e-3, 'atol': 1e-4}
  np.testing.assert_allclose(value, want, **close)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), grads, wanted)


def photos(n, size, seed=0):
  """uint8 images as smooth and as gray as photos are: white noise would hide what float32 loses."""
  rng = np.random.default_rng(seed)
  coarse = rng.standard_normal((n, size // 8 + 2, size // 8 + 2, 1), np.float32)
  coarse = coarse + 0.15 * rng.standard_normal((*coarse.shape[:3], 3), np.float32)
  at = np.arange(size) / 8
  low, part = at.astype(int), (at % 1).astype(np.float32)
  rows = coarse[:, low] * (1 - part)[:, None, None] + coarse[:, low + 1] * part[:, None, None]
  x = rows[:, :, low] * (1 - part)[:, None] + rows[:, :, low + 1] * part[:, None]
  return np.clip(125 + 60 * x, 0, 255).astype(np.uint8)


def normalised(images):
  """Returns images as a network is shown them, and its pixel mean and deviation."""
  pixels = images.reshape(-1, images.shape[-1])
  mean = np.round(pixels.mean(0, dtype=np.float64)).astype(np.float32)
  std = np.maximum(np.round(pixels.std(0, dtype=np.float64)), 1).astype(np.float32)
  return (images.astype(np.float32) - mean) / std, tuple(mean.tolist()), tuple(std.tolist())


def second_moment(images):
  """The mean outer product of the 2x2 patches [4C, 4C], in float64, image by image."""
  total = 0
  for image in images.astype(np.float64):
    views = [image[i : len(image) - 1 + i, j : image.shape[1] - 1 + j] for i in (0, 1) for j in (0, 1)]
    patches = np.concatenate(views, -1).reshape(-1, 4 * image.shape[-1])
    total = total + patches.T @ patches / len(patches)
  return total / len(images)


def assert_whitens(filters, images):
  """The mean square of each output is λ/(λ + floor), and no two outputs go together."""
  moment, filters = second_moment(images), np.asarray(filters, np.float64)
  variance = np.maximum(np.linalg.eigvalsh(moment), 0)
  found = filters.T @ moment @ filters
  np.testing.assert_allclose(np.diag(found), variance / (variance + 5e-4), rtol=0.01, atol=1e-4)
  np.testing.assert_allclose(found - np.diag(np.diag(found)), 0, atol=1e-4)


@pytest.mark.parametrize(('n', 'size'), [(5000, 32), (2000, 64), (200, 224)])
def test_filters_of_as_many_images_as_users_have_are_float64s(n, size):
  images = normalised(photos(n, size))[0]
  filters = whitening(images)
  assert_whitens(filters, images)
  np.testing.assert_array_equal(jax.jit(whitening)(images), filters)


def near_duplicates():
  images = np.repeat(photos(2, 64), 100, 0)
  images[::3, 5, 5] ^= 1
  return images


@pytest.mark.parametrize(
  'images',
  [
    np.full((300, 32, 32, 3), 255, np.uint8),
    np.zeros((5, 32, 32, 3), np.uint8),
    np.arange(256, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8),  # each of one gray
    photos(500, 64)[..., :1].repeat(3, -1),
    photos(500, 64)[..., :1],
    near_duplicates(),
    photos(50, 64) // 128 * 255,
  ],
  ids=['constant', 'black', 'flat', 'gray', 'one channel', 'near duplicates', 'two levels'],
)
def test_filters_of_odd_images_are_float64s(images):
  images = normalised(images)[0]
  filters = whitening(images)
  assert_whitens(filters, images)
  np.testing.assert_array_equal(jax.jit(whitening)(images), filters)
  assert (filters.max(0) >= -0.9999 * filters.min(0)).all()  # a sign that no library chooses


@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'amx'])  # under amx this layer is onednn's
@pytest.mark.parametrize('gray', [False, True])
def test_projections_of_every_kind_are_white(kind, gray):
  if kind not in kinds():
    pytest.skip('this machine has no oneDNN')
  images = photos(200, 64)
  images = normalised(images[..., :1].repeat(3, -1) if gray else images)[0]
  y = np.asarray(jax.jit(whiten, static_argnums=2)(images, whitening(images), kind), np.float64).reshape(-1, 12)
  variance = np.maximum(np.linalg.eigvalsh(second_moment(images)), 0)
  np.testing.assert_allclose((y**2).mean(0), variance / (variance + 5e-4), rtol=0.01, atol=1e-4)


def test_the_projection_asks_for_all_of_float32():
  """On GPUs XLA rounds the factors of a convolution to TF32 unless it is told not to."""
  text = jax.jit(whiten, static_argnums=2).lower(draw(2, 8, 8, 3), np.eye(12, dtype=np.float32), 'plain').as_text()
  assert text.count('stablehlo.convolution') == text.count('precision HIGHEST>, #stablehlo<precision HIGHEST>') == 1


def test_networks_begin_with_the_filters_of_what_init_is_shown():
  images = photos(1582, 64)
  shown, mean, std = normalised(images)
  net = Net(Model(10, widths=(4,)), mean, std, networks=2)
  _, stats = net.init(jax.random.key(0), images)
  assert stats['whiten'].shape == (2, 12, 12) and stats['whiten'].dtype == jnp.float32
  for filters in stats['whiten']:
    assert_whitens(filters, shown)


@pytest.mark.parametrize('size', [8, 32, 64, 224, 1024])
def test_init_looks_at_no_more_pixels_however_large_the_images(size):
  shown = Net(Model(10), (0.0,), (1.0,)).shown((size, size, 3))
  assert shown >= 2 and shown * size**2 <= PIXELS < (shown + 1) * size**2
  assert Net(Model(10), (0.0,), (1.0,)).shown((9999, 9999, 3)) == 2


def test_images_of_one_row_are_whitened_too():
  images = smooth(100)[:, :1]
  y = np.asarray(whiten(images, whitening(images), 'plain'), np.float64).reshape(-1, 12)
  np.testing.assert_allclose((y**2).mean(0)[:6], 0, atol=1e-4)  # the row below is not there
  np.testing.assert_allclose((y**2).mean(0)[6:], 1, atol=0.01)


def test_calibrated_layer_whitens_patches():
  images = smooth()
  model = Model(10, widths=(4,))
  before = initial(model, images)
  after = model.calibrate(before, images)
  y = np.asarray(whiten(images, after['batch_stats']['whiten'], 'plain'), np.float64).reshape(-1, 12)
  np.testing.assert_allclose(y.T @ y / len(y), np.eye(12), atol=0.01)
  jax.tree.map(np.testing.assert_array_equal, after['params'], before['params'])


def test_whitening_does_not_blow_up_a_dead_channel():
  images = smooth()
  images[..., 2] = 0
  assert np.abs(whitening(images)).max() <= 1 / np.sqrt(5e-4) + 1


def test_training_moves_statistics_but_not_the_whitening():
  images = smooth(16)
  model = Model(10, widths=(4,))
  variables = model.calibrate(initial(model, images), images)
  _, moved = model.apply(variables, images, True, mutable=['batch_stats'])
  moved = moved['batch_stats']
  np.testing.assert_array_equal(moved['whiten'], variables['batch_stats']['whiten'])
  assert np.abs(moved['BatchNorm_0']['mean']).max() > 0


def test_first_outputs_start_as_the_identity():
  kernel = identity_first(jax.random.key(0), (3, 3, 4, 6))
  x = draw(2, 5, 5, 4)
  y = jax.lax.conv_general_dilated(x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  np.testing.assert_array_equal(y[..., :4], x)
  assert np.std(y[..., 4:]) > 0.1


def test_learns_a_planted_pattern():
  """Classes differ in where a bright square sits; held-out images are told apart after 60 steps."""
  label = np.arange(128) % 4
  images = 0.3 * draw(128, 8, 8, 1)
  for i, c in enumerate(label):
    images[i, 4 * (c // 2) : 4 * (c // 2) + 3, 4 * (c % 2) : 4 * (c % 2) + 3] += 1
  train, test = slice(0, 64), slice(64, 128)
  model = Model(4, widths=(8, 16))
  variables = model.calibrate(initial(model, images[train]), images[train])
  tx = optax.adam(0.01)

  @jax.jit
  def step(variables, opt):
    def loss(params):
      (logits, _), stats = model.apply({**variables, 'params': params}, images[train], True, mutable=['batch_stats'])
      return optax.softmax_cross_entropy_with_integer_labels(logits, label[train]).mean(), stats

    grads, stats = jax.grad(loss, has_aux=True)(variables['params'])
    updates, opt = tx.update(grads, opt)
    return {'params': optax.apply_updates(variables['params'], updates), **stats}, opt

  opt = tx.init(variables['params'])
  for _ in range(60):
    variables, opt = step(variables, opt)
  logits, _ = jax.jit(lambda v: model.apply(v, images[test], False))(variables)
  assert np.mean(np.argmax(logits, -1) == label[test]) >= 0.95
