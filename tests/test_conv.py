"""The fast convolution against XLA's, over random shapes: values, gradients, gradients of gradients."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax
from jax.test_util import check_grads

import runs
from configs import base
from noisyjax.config.build import build_model
from noisyjax.models.layers import conv, onednn
from noisyjax.models.layers.conv import Conv
from noisyjax.system import compile_cache
from noisyjax.system.errors import UserError

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
MORE = [  # the last has a large image
  (5, 9, 8, 7, 4, (3, 3), 1, 'SAME'),
  (3, 10, 7, 6, 11, (5, 3), 1, 'VALID'),
  (2, 6, 9, 5, 5, (3, 1), 1, 'SAME'),
  (4, 31, 31, 24, 32, (3, 3), 1, 'SAME'),
]


KINDS = conv.kinds()
WIDE = [k for k in KINDS if k not in ('plain', 'amx')]  # those in float32


def drawn(count=8, seed=2):
  """Returns random shapes; stride and padding take turns."""
  rng = np.random.default_rng(seed)
  upto = lambda least, most: int(rng.integers(least, most + 1))
  pick = lambda *choices: choices[upto(0, len(choices) - 1)]
  side, kernel = lambda: upto(5, 12), lambda: pick(1, 2, 3, 5)
  return [
    (upto(1, 6), side(), side(), upto(1, 7), upto(1, 7), (kernel(), kernel()), 1 + i % 2, ('SAME', 'VALID')[i // 2 % 2])
    for i in range(count)
  ]


def both(shape, whole=False, **fields):
  """Modules by kind, their common variables, images, and a cotangent."""
  b, h, w, c, f, kernel, stride, padding = shape
  modules = {kind: Conv(f, kernel, (stride, stride), padding, kind=kind, **fields) for kind in KINDS}
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


def check_values(shape):
  modules, *arguments = both(shape)
  plain = value_and_gradients(modules['plain'], *arguments)
  for kind in WIDE:
    jax.tree.map(close, value_and_gradients(modules[kind], *arguments), plain)


def check_exact_numbers(shape):
  modules, *arguments = both(shape, whole=True)
  plain = value_and_gradients(modules['plain'], *arguments)
  for kind in KINDS[1:]:
    jax.tree.map(np.testing.assert_array_equal, value_and_gradients(modules[kind], *arguments), plain)


def test_plain_is_flax_conv():
  modules, variables, images, _ = both(SHAPES[2])
  flax = nn.Conv(4, (3, 3), (2, 2))
  close(modules['plain'].apply(variables, images), flax.apply(variables, images))
  for module in modules.values():
    assert jax.tree.map(jnp.shape, jax.eval_shape(flax.init, jax.random.key(0), images)) == jax.tree.map(
      jnp.shape, jax.eval_shape(module.init, jax.random.key(0), images)
    )


@pytest.mark.parametrize('shape', SHAPES + MORE, ids=str)
@pytest.mark.parametrize('block', [1, 2**10, 2**18])  # one image a block; several
def test_values_and_gradients_equal_plain(shape, block, monkeypatch):
  monkeypatch.setattr(conv, 'BLOCK', block)
  check_values(shape)
  if block < 2**18:
    check_exact_numbers(shape)


@pytest.mark.parametrize('shape', drawn(), ids=str)
def test_random_shapes_equal_plain(shape, monkeypatch):
  monkeypatch.setattr(conv, 'BLOCK', 2**10)
  check_values(shape)
  check_exact_numbers(shape)


OPTIMISED = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
assert 'optimization_level' not in os.environ['XLA_FLAGS']
import test_conv as t
from noisyjax.system import compile_cache
compile_cache.enable()
for shape in (t.MORE[0], t.SHAPES[2]):
  t.check_values(shape)
  t.check_exact_numbers(shape)
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


@pytest.mark.parametrize('shape', [*SHAPES[:5:2], MORE[0], MORE[3], (3, 8, 8, 70, 67, (3, 3), 1, 'SAME')], ids=str)
def test_error_against_float64(shape):
  modules, variables, images, g = both(shape)
  with jax.enable_x64(True):
    wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (variables['params']['kernel'], images, g))
    stride, padding = shape[-2:]
    run = lambda kernel, x: lax.conv_general_dilated(
      x, kernel, (stride, stride), padding, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    y, vjp = jax.vjp(run, *wide[:2])
    exact = [np.asarray(a) for a in (y + variables['params']['bias'], *vjp(wide[2]))]
  errors = {}
  for kind in ('plain', *WIDE):
    y, (own, x) = value_and_gradients(modules[kind], variables, images, g)
    found = (y, own['params']['kernel'], x)
    errors[kind] = [np.abs(np.asarray(a, np.float64) - e).max() / np.abs(e).max() for a, e in zip(found, exact)]
  for kind in WIDE:
    for plain, fast in zip(errors['plain'], errors[kind]):
      assert fast <= min(1e-5, max(4 * plain, 1e-6))


@pytest.mark.parametrize('shape', [*SHAPES[2:5], MORE[0]])
def test_gradients_of_gradients_equal_plain(shape):
  modules, variables, images, g = both(shape)
  primals = variables, images

  def twice(module):
    loss = lambda v, x: jnp.sum(jnp.tanh(module.apply(v, x) / 9) * g)
    along = lambda v, x: sum(map(jnp.vdot, *map(jax.tree.leaves, (jax.grad(loss, (0, 1))(v, x), primals))))
    return jax.jit(jax.grad(along, (0, 1)))(*primals)

  plain = twice(modules['plain'])
  for kind in KINDS[1:]:
    jax.tree.map(functools.partial(close, limit=0.02 if kind == 'amx' else 1e-5), twice(modules[kind]), plain)


@pytest.mark.parametrize('kind', WIDE)
def test_backward_is_differentiable(kind):
  modules, variables, images, g = both(SHAPES[0])
  loss = jax.jit(lambda v, x: jnp.sum(jnp.tanh(modules[kind].apply(v, x) / 9) * g))
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

  plain = meta(modules['plain'])
  for kind in KINDS[1:]:
    close(meta(modules[kind]), plain, 0.02 if kind == 'amx' else 1e-5)


@pytest.mark.parametrize('kind', WIDE)
def test_vmap_over_networks_equals_a_loop(kind):
  modules, variables, images, _ = both(SHAPES[3])
  variables = jax.tree.map(lambda a: np.stack([a, -2 * a]), variables)
  grad = jax.grad(lambda v: jnp.sum(jnp.tanh(modules[kind].apply(v, images))))
  jax.tree.map(close, jax.jit(jax.vmap(grad))(variables), jax.lax.map(grad, variables))


@pytest.mark.parametrize('kind', WIDE)
def test_patches_are_not_residuals(kind):
  modules, variables, images, _ = both((8, 16, 16, 4, 4, (5, 5), 1, 'SAME'))
  _, vjp = jax.vjp(modules[kind].apply, variables, images)
  assert sum(a.nbytes for a in jax.tree.leaves(vjp)) <= 2 * images.nbytes


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters():
  modules, variables, images, g = both(SHAPES[0], dtype='bfloat16')
  plain = value_and_gradients(modules['plain'], variables, images, g)
  for kind in KINDS[1:]:
    fast = value_and_gradients(modules[kind], variables, images, g)
    assert fast[0].dtype == jnp.bfloat16
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(fast[1]))
    jax.tree.map(functools.partial(close, limit=0.02), fast, plain)


def test_without_onednn_auto_does_without_and_onednn_says_what_it_needs(monkeypatch):
  assert build_model(base.get_config(), 10).conv == ('onednn' if onednn.available() else 'matmul')
  monkeypatch.setattr(onednn, '_library', lambda: None)
  with pytest.raises(
    UserError, match=r"model\.conv: 'amx' needs .*onednn-cpu-gomp .*missing or .*\. Choose auto, matmul or"
  ):
    Conv(4, (3, 3), kind='amx').init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
  assert build_model(base.get_config(), 10).conv == 'matmul'


@pytest.mark.parametrize('kind', WIDE)
def test_a_negative_padding_crops(kind):
  x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
  crop = functools.partial(Conv, 4, (3, 3), padding=((-1, 2), (1, -1)))
  variables = crop().init(jax.random.key(1), x)
  run = lambda module: jax.value_and_grad(lambda x: (module.apply(variables, x) ** 2).sum())(x)
  jax.tree.map(close, run(crop(kind=kind)), run(crop()))


@pytest.mark.parametrize('line', ['flags\t\t: fpu avx2', 'Features\t: fpu avx2'])  # x86 and ARM
def test_the_cache_of_one_processor_is_not_anothers(line, monkeypatch):
  folders = []
  for more in ('', ' sve'):
    monkeypatch.setattr(Path, 'read_text', lambda self, more=more: f'model : x\n{line}{more}\nbugs : y\n')
    assert compile_cache.processor_flags() == {'fpu', 'avx2', *more.split()}
    folders.append(compile_cache._processor())
  assert folders[0] != folders[1]


def test_unknown_kind_names_the_choices():
  with pytest.raises(UserError, match=r'conv: unknown value .*matmul.*plain'):
    Conv(4, (3, 3), kind='matmull').init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
