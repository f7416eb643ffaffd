"""oneDNN's convolutions: threads, ends, borders, the cache, and what they refuse. Values beside XLA's: test_conv.py."""

import concurrent.futures
import os
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_conv

import runs
from noisyjax.models.layers import conv, onednn
from noisyjax.models.layers.conv import convolution
from noisyjax.system import compile_cache

pytestmark = pytest.mark.skipif(not onednn.available(), reason='no oneDNN')


@pytest.mark.parametrize('shape', test_conv.SHAPES[:5:2])
def test_products_in_bfloat16_err_by_its_rounding_alone(shape):
  modules, variables, images, g = test_conv.both(shape)
  rounded = lambda tree: jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16).astype(jnp.float32), tree)
  plain = test_conv.value_and_gradients(modules['plain'], rounded(variables), rounded(images), rounded(g))
  low = test_conv.value_and_gradients(modules['amx'], variables, images, g)
  (y, (own, x)), (y_low, (own_low, x_low)) = plain, low
  bias = rounded(variables)['params']['bias'] - variables['params']['bias']
  test_conv.close(y_low + bias, y)  # biases are added, and learn, in float32
  test_conv.close(own_low['params']['kernel'], own['params']['kernel'])
  test_conv.close(x_low, x)


def test_independent_convolutions_at_once_do_not_mix():
  """XLA runs them on several threads, and a primitive has one set of memories."""
  modules, variables, images, _ = test_conv.both((4, 8, 8, 5, 5, (3, 3), 1, 'SAME'))
  scales = jnp.arange(1.0, 9)
  every = jax.jit(lambda scales: [modules['onednn'].apply(variables, images * s) for s in scales])
  bias = variables['params']['bias']
  for _ in range(50):
    one, *others = every(scales)
    for scale, y in zip(scales[1:], others):
      test_conv.close(y - bias, scale * (one - bias))


CHILD = """
import jax, sys
from jax import monitoring
hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith('cache_hits') else None)
jax.config.update('jax_compilation_cache_dir', sys.argv[1])
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
from noisyjax.models.layers.conv import convolution
images, kernel = jax.numpy.ones((64, 32, 32, 16)), jax.numpy.ones((3, 3, 16, 16))
many = jax.jit(lambda x: [convolution(i * x, kernel, (1, 1), 'SAME', 'onednn').sum() for i in range(20)])
print(float(many(images)[3]), len(hits), flush=True)
many(images)
"""


def test_a_program_is_kept_and_may_still_run_when_the_interpreter_ends(tmp_path):
  found = []
  for _ in range(2):
    command = [sys.executable, '-W', 'error', '-c', CHILD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=runs.ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found.append(done.stdout.split())
  (cold, none), (warm, some) = found
  assert cold == warm
  assert (int(none), int(some) > 0) == (0, True)


@pytest.mark.parametrize(
  'shape', [(2, 16, 16, 8, 8, (3, 3), 1, ((3, 3), (3, 3))), (3, 9, 8, 4, 5, (3, 2), 1, ((0, 2), (1, 0)))]
)
def test_unusual_borders_and_many_threads_equal_plain(shape):
  """Wide borders take oneDNN to other kernels, whose scratchpad would be of the thread that traced."""
  b, h, w, c, f, kernel, _, padding = shape
  draw = lambda *size: np.random.default_rng(0).integers(-8, 9, size).astype(np.float32)
  x, k = draw(b, h, w, c), draw(*kernel, c, f)
  loss = lambda x, k, kind: (convolution(x, k, (1, 1), padding, kind) ** 2).sum()
  for_all = lambda kind: jax.jit(lambda x, k: [jax.grad(loss, (0, 1))(x * i, k, kind) for i in range(1, 20)])(x, k)
  wanted = for_all('plain')
  for _ in range(5):
    jax.tree.map(test_conv.close, for_all('onednn'), wanted)


def test_a_primitive_works_in_any_thread():
  geometry = ((16, 16), (3, 3), (1, 1), ((3, 3), (3, 3)))
  x, g = (jax.random.normal(jax.random.key(i), (2, n, n, 8)) for i, n in enumerate((16, 20)))
  run = jax.jit(lambda x, g: onednn.kernel_gradient(x, g, geometry, 1, 'float32')).lower(x, g).compile()
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    found = [f.result() for f in [pool.submit(lambda: jax.block_until_ready(run(x, g))) for _ in range(20)]]
  test_conv.close(found[0], conv.kernel_gradient(x, g, geometry, 'matmul'))
  for y in found[1:]:
    np.testing.assert_array_equal(y, found[0])
  assert [t.name for t in threading.enumerate()].count('onednn') == 1


def test_callers_on_many_threads_share_onednns():
  """OpenMP keeps a team of threads for each that called: on a machine of 64 cores thousands."""
  code = """
import concurrent.futures, jax, os
from noisyjax.models.layers.conv import convolution
images, kernel = jax.numpy.ones((4, 8, 8, 16)), jax.numpy.ones((3, 3, 16, 16))
run = jax.jit(lambda x: convolution(x, kernel, (1, 1), 'SAME', 'onednn'))
run(images).block_until_ready()
many = lambda: len(os.listdir('/proc/self/task'))
before = many()
with concurrent.futures.ThreadPoolExecutor(8) as pool:
  list(pool.map(lambda i: run(images * i).block_until_ready(), range(64)))
  print(many() - before)
"""
  environment = {**os.environ, 'OMP_NUM_THREADS': '8'}
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=runs.ROOT, env=environment)
  assert done.returncode == 0, done.stderr[-3000:]
  assert int(done.stdout) <= 16  # the pool's own eight, and a few of XLA's


@pytest.mark.parametrize(
  'shapes', [((0, 4, 4, 2), (3, 3, 2, 3)), ((2, 4, 4, 0), (3, 3, 0, 3)), ((2, 1, 1, 2), (2, 2, 2, 3))]
)
def test_nothing_convolves_to_nothing(shapes):
  x, k = (jnp.ones(shape) for shape in shapes)
  padding = ((0, 0), (0, 0))
  for kind in conv.kinds()[2:]:
    np.testing.assert_array_equal(convolution(x, k, (1, 1), padding, kind), convolution(x, k, (1, 1), padding, 'plain'))


def test_what_onednn_refuses_is_an_error_of_whoever_traces():
  jax.eval_shape(lambda x, k: onednn.convolve(x, k, ((4, 4), (3, 3), (1, 1), ((1, 1), (1, 1))), 1, 'float32'), *empty())
  with pytest.raises(RuntimeError, match=r'convolution_forward_primitive_desc_create returned status'):
    jax.eval_shape(
      lambda x, k: onednn.convolve(x, k, ((4, 4), (3, 3), (1, 1), ((1, 1), (-1, 1))), 1, 'float32'), *empty()
    )


def empty():
  return jnp.zeros((1, 4, 4, 2)), jnp.zeros((3, 3, 2, 3))


def test_without_avx_512_there_is_no_bfloat16(monkeypatch):
  monkeypatch.setattr(compile_cache, 'processor_flags', lambda: {'avx2'})
  assert conv.kinds() == ('plain', 'matmul', 'onednn')
  x, kernel = (a.astype(jnp.bfloat16) for a in empty())
  assert convolution(x, kernel, (1, 1), 'SAME', 'onednn').dtype == jnp.bfloat16  # XLA's


def test_a_library_that_does_not_load_is_said_and_done_without(monkeypatch, caplog):
  monkeypatch.setattr(onednn, 'LIBRARY', 'libdnnl.so.none')
  monkeypatch.setattr(onednn, '_loaded', onednn._loaded.__wrapped__)  # the one that is loaded stays
  with caplog.at_level('WARNING'):
    assert conv.kinds() == ('plain', 'matmul')
  assert 'onednn-cpu-gomp cannot be loaded (libdnnl.so.none' in caplog.text
