"""What every test runs under: JAX on its persistent compilation cache, so that a second run compiles little."""

import jax
import pytest

import tiny
from noisyjax import compile_cache

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
