"""What every test runs under: JAX on its persistent compilation cache, so that a second run compiles little."""

import os
import signal
from pathlib import Path

# Programs here are small and run a few times: what the compiler does not optimise is time saved.
os.environ['XLA_FLAGS'] = f'--xla_backend_optimization_level=0 {os.environ.get("XLA_FLAGS", "")}'

# Real data, where they lie beside the checkout; the tests that need them are skipped elsewhere.
if (REAL := Path(__file__).resolve().parents[2] / 'shared' / 'data').is_dir():
  os.environ.setdefault('NOISYJAX_DATA', str(REAL))

# A background job of a shell ignores Ctrl-C, and so would its children; the tests send it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)

import jax
import pytest

import tiny
from noisyjax.system import compile_cache

compile_cache.enable()
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


@pytest.fixture(scope='module', autouse=True)
def forget():
  """Lets go of what a module compiled: a process may map only so many pieces of memory, and each program takes some."""
  yield
  jax.clear_caches()


@pytest.fixture(scope='session')
def data():
  """48 random 8x8 gray images of 3 classes, all labeled, none verified."""
  return tiny.data()


def pytest_collection_modifyitems(items):
  """Tests that share what they compile go to one process: those of a module, or of one strategy."""
  for item in items:
    group = item.path.stem
    if group in ('test_conformance', 'test_feature_methods'):
      group += '-' + item.callspec.params['name'].partition(':')[0]
    item.add_marker(pytest.mark.xdist_group(group))
