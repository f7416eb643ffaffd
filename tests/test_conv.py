"""The fast convolution against XLA's, over random shapes: values, gradients, gradients of gradients."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.test_util import check_grads

import runs
from noisyjax.errors import UserError
from noisyjax.models import conv, winograd
from noisyjax.models.conv import Conv

# batch, height, width, channels, features, kernel, stride, padding
SHAPES = [
  (1, 9, 7, 3, 5, (3, 3), 1, 'SAME'),
  (1, 1, 1, 4, 3, (3, 3), 1, 'SAME'),
  (7, 11, 8, 6, 4, (3, 3), 2, 'SAME'),
  (6, 8, 8, 3, 8, (2, 2), 1, 'VALID'),
  (5, 9, 9, 4, 3, (2, 2), 2, 'SAME'),
  (4, 7, 6, 5, 6, (1, 1), 1, 'SAME'),
  (4, 7, 6, 5, 6, (1, 1), 2, 'VALID'),
  (3, 13, 12, 2, 3, (5, 5), 1, 'VALID'),
  (3, 13, 12, 2, 3, (5, 5), 2, 'SAME'),
  (2, 5, 9, 3, 2, (1, 3), 2, 'VALID'),
]
# Large enough for Winograd's form: even and odd sides, both paddings, a batch of one.
WINOGRAD = [
  (4, 7, 8, 64, 67, (3, 3), 1, 'SAME'), (6, 9, 7, 65, 64, (3, 3), 1, 'VALID'), (1, 8, 8, 64, 64, (3, 3), 1, 'SAME'),
]  # fmt: skip


def drawn(count=8, seed=2):
  """Shapes that nobody thought of, as of those above: random but for stride and padding, which take turns."""
  rng = np.random.default_rng(seed)
  upto = lambda least, most: int(rng.integers(least, most + 1))
  pick = lambda *choices: choices[upto(0, len(choices) - 1)]
  side, kernel = lambda: upto(5, 12), lambda: pick(1, 2, 3, 5)
  return [
    (upto(1, 6), side(), side(), upto(1, 7), upto(1, 7), (kernel(), kernel()), 1 + i % 2, ('SAME', 'VALID')[i // 2 % 2])
    for i in range(count)
  ]


def both(shape, whole=False, **fields):
  """Modules that differ in kind only (plain, matmul, amx), their common variables, images, and a cotangent."""
  b, h, w, c, f, kernel, stride, padding = shape
  modules = [Conv(f, kernel, (stride, stride), padding, kind=kind, **fields) for kind in conv.KINDS]
  out = [(n - k) // stride + 1 if padding == 'VALID' else -(-n // stride) for n, k in zip((h, w), kernel)]
  if whole:  # small whole numbers are exact in bfloat16, and so are their products and sums in float32
    draw = lambda *size: np.random.default_rng(0).integers(-8, 9, size).astype(np.float32)
  else:
    draw = lambda *size: np.random.default_rng(0).standard_normal(size, np.float32)
  variables = {'params': {'kernel': draw(*kernel, c, f), 'bias': draw(f)}}
  return modules, variables, draw(b, h, w, c), draw(b, *out, f)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(module, variables, images, cotangent):
  y, vjp = jax.vjp(module.apply, variables, images)
  return y, vjp(cotangent.astype(y.dtype))


def close(got, want, limit=1e-5):
  got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
  assert got.shape == want.shape
  assert np.abs(got - want).max() <= limit * np.abs(want).max()


def test_plain_is_flax_conv():
  modules, variables, images, _ = both(SHAPES[2])
  flax = nn.Conv(4, (3, 3), (2, 2))
  close(modules[0].apply(variables, images), flax.apply(variables, images))
  assert jax.tree.map(jnp.shape, jax.eval_shape(flax.init, jax.random.key(0), images)) == jax.tree.map(
    jnp.shape, jax.eval_shape(modules[1].init, jax.random.key(0), images)
  )


@pytest.mark.parametrize('shape', SHAPES + WINOGRAD)
@pytest.mark.parametrize('block', [1, 2**10, 2**18])  # one image a block; several
def test_value_and_gradients_equal_plain(shape, block, monkeypatch):
  monkeypatch.setattr(conv, 'BLOCK', block)
  monkeypatch.setattr(winograd, 'BLOCK', block)
  modules, variables, images, g = both(shape)
  plain, fast = (value_and_gradients(m, variables, images, g) for m in modules[:2])
  jax.tree.map(close, fast, plain)


@pytest.mark.parametrize('shape', [*SHAPES, (2, 5, 7, 3, conv.FEW + 1, (3, 3), 1, 'SAME')])
@pytest.mark.parametrize('block', [1, 2**10])
def test_products_in_bfloat16_of_exact_numbers_equal_plain(shape, block, monkeypatch):
  monkeypatch.setattr(conv, 'BLOCK', block)
  modules, variables, images, g = both(shape, whole=True)
  plain, _, low = (value_and_gradients(m, variables, images, g) for m in modules)
  jax.tree.map(np.testing.assert_array_equal, low, plain)


@pytest.mark.parametrize('shape', drawn(), ids=str)
def test_random_shapes_equal_plain(shape, monkeypatch):
  test_value_and_gradients_equal_plain(shape, 2**10, monkeypatch)
  test_products_in_bfloat16_of_exact_numbers_equal_plain(shape, 2**10, monkeypatch)


OPTIMISED = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
assert 'optimization_level' not in os.environ['XLA_FLAGS']
import jax, numpy
import test_conv as t
from noisyjax import compile_cache
compile_cache.enable()
for shape in (t.WINOGRAD[0], t.SHAPES[2]):
  for whole, check in ((False, t.close), (True, numpy.testing.assert_array_equal)):
    modules, *arguments = t.both(shape, whole)
    plain, fast, low = (t.value_and_gradients(m, *arguments) for m in modules)
    jax.tree.map(check, low, plain) if whole else jax.tree.map(check, fast, plain)
"""


def test_optimised_programs_equal_plain():
  """As they run outside the tests, which spare the compiler's optimisations (conftest.py)."""
  flags = [f for f in os.environ['XLA_FLAGS'].split() if 'optimization_level' not in f]
  environment = {**os.environ, 'XLA_FLAGS': ' '.join(flags), 'JAX_PLATFORMS': 'cpu'}
  paths = json.dumps([str(runs.ROOT / 'tests'), str(runs.ROOT)])
  done = subprocess.run(
    [sys.executable, '-c', OPTIMISED, paths], capture_output=True, text=True, timeout=300, env=environment, check=False
  )
  assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize('shape', SHAPES[:5:2])
def test_products_in_bfloat16_err_by_its_rounding_alone(shape):
  modules, variables, images, g = both(shape)
  rounded = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16).astype(jnp.float32), tree)
  plain = value_and_gradients(modules[0], rounded(variables), rounded(images), rounded(g))
  low = value_and_gradients(modules[2], variables, images, g)
  (y, (own, x)), (y_low, (own_low, x_low)) = plain, low
  bias = rounded(variables)['params']['bias'] - variables['params']['bias']
  close(y_low + bias, y)  # biases are added, and learn, in float32
  close(own_low['params']['kernel'], own['params']['kernel'], 1e-5 if len(images) > 1 else 0.01)
  close(x_low, x)


@pytest.mark.parametrize('shape', SHAPES[:5:2])
def test_error_against_float64(shape):
  modules, variables, images, g = both(shape)
  kernel = variables['params']['kernel']
  grads = [value_and_gradients(m, variables, images, g)[1][0]['params']['kernel'] for m in modules[:2]]
  _, h, w, _, _, size, stride, padding = shape
  pads = jax.lax.padtype_to_pads((h, w), size, (stride, stride), padding)
  x = np.pad(np.asarray(images, np.float64), ((0, 0), *pads, (0, 0)))
  exact = np.zeros(kernel.shape)
  for i, j in np.ndindex(g.shape[1:3]):  # the definition of the weight gradient, pixel by pixel
    window = x[:, i * stride : i * stride + size[0], j * stride : j * stride + size[1]]
    exact += np.einsum('bhwc,bf->hwcf', window, np.asarray(g, np.float64)[:, i, j])
  plain, fast = (np.abs(np.asarray(a, np.float64) - exact).max() / np.abs(exact).max() for a in grads)
  assert fast <= max(4 * plain, 1e-6)


def test_winograd_runs_where_it_pays(monkeypatch):
  ran = []
  own = winograd.convolve
  monkeypatch.setattr(winograd, 'convolve', lambda *args: ran.append(args[0].shape) or own(*args))
  for shape, times in ((WINOGRAD[0], 2), (SHAPES[2], 0), ((2, 8, 8, 64, 64, (3, 3), 2, 'SAME'), 0)):
    ran.clear()
    modules, variables, images, g = both(shape)
    jax.eval_shape(functools.partial(value_and_gradients.__wrapped__, modules[1]), variables, images, g)
    assert len(ran) == times  # forward, and the gradient of the images


@pytest.mark.parametrize('shape', WINOGRAD)
def test_winograd_errs_no_more_than_four_times_plain(shape):
  modules, variables, images, g = both(shape)
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (variables, images, g))
    run = lambda x: (
      lax.conv_general_dilated(
        x, wide[0]['params']['kernel'], (1, 1), shape[-1], dimension_numbers=('NHWC', 'HWIO', 'NHWC')
      )
      + wide[0]['params']['bias']
    )
    y, vjp = jax.vjp(run, wide[1])
    exact = (np.asarray(y), np.asarray(vjp(wide[2])[0]))
  errors = []
  for module in modules[:2]:
    y, (_, x) = value_and_gradients(module, variables, images, g)
    errors.append([np.abs(np.asarray(a, np.float64) - e).max() / np.abs(e).max() for a, e in zip((y, x), exact)])
  for plain, fast in zip(*errors):
    assert fast <= min(1e-5, max(4 * plain, 1e-6))


@pytest.mark.parametrize('shape', [*SHAPES[2:5], WINOGRAD[0]])
def test_gradients_of_gradients_equal_plain(shape):
  modules, variables, images, g = both(shape)
  primals = variables, images

  def twice(module):
    loss = lambda v, x: jnp.sum(jnp.tanh(module.apply(v, x) / 9) * g)
    along = lambda v, x: sum(map(jnp.vdot, *map(jax.tree.leaves, (jax.grad(loss, (0, 1))(v, x), primals))))
    return jax.jit(jax.grad(along, (0, 1)))(*primals)

  plain, fast, low = map(twice, modules)
  jax.tree.map(close, fast, plain)
  jax.tree.map(functools.partial(close, limit=0.02), low, plain)


def test_backward_is_differentiable():
  modules, variables, images, g = both(SHAPES[0])
  loss = jax.jit(lambda v, x: jnp.sum(jnp.tanh(modules[1].apply(v, x) / 9) * g))
  check_grads(loss, (variables, images), order=2, modes=['rev'], atol=0.05, rtol=0.05)


def test_gradient_through_an_update_equals_plain():
  """What L2RW does: the gradient, in the weight of each example, of the loss after one step."""
  modules, variables, images, g = both(SHAPES[2])

  def meta(module):
    def loss(v, weight):
      return jnp.mean(weight[:, None, None, None] * jnp.tanh(module.apply(v, images)) * g)

    def after(weight):
      step = jax.grad(loss)(variables, weight)
      return loss(jax.tree.map(lambda p, d: p - 0.1 * d, variables, step), jnp.ones_like(weight))

    return jax.jit(jax.grad(after))(jnp.ones(len(images)))

  plain, fast, low = map(meta, modules)
  close(fast, plain)
  close(low, plain, 0.02)


def test_vmap_over_networks_equals_a_loop():
  (_, fast, _), variables, images, _ = both(SHAPES[3])
  variables = jax.tree.map(lambda a: np.stack([a, -2 * a]), variables)
  grad = jax.grad(lambda v: jnp.sum(jnp.tanh(fast.apply(v, images))))
  jax.tree.map(close, jax.jit(jax.vmap(grad))(variables), jax.lax.map(grad, variables))


def test_patches_are_not_residuals():
  (_, fast, _), variables, images, _ = both((8, 16, 16, 4, 4, (5, 5), 1, 'SAME'))
  _, vjp = jax.vjp(fast.apply, variables, images)
  assert sum(a.nbytes for a in jax.tree.leaves(vjp)) <= 2 * images.nbytes


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
  modules, variables, images, g = both(SHAPES[0], dtype='bfloat16')
  plain, *others = (value_and_gradients(m, variables, images, g) for m in modules)
  for fast in others:
    assert fast[0].dtype == jnp.bfloat16
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(fast[1]))
    jax.tree.map(functools.partial(close, limit=0.02), fast, plain)


def test_unknown_kind_names_the_choices():
  with pytest.raises(UserError, match=r'conv: unknown value .*matmul.*plain'):
    Conv(4, (3, 3), kind='matmull').init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
