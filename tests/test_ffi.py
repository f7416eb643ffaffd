"""Python functions as XLA custom calls: they access memory, and their exceptions become errors of the XLA program."""

import ctypes

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisyjax.models.layers import ffi

FLOATS = 6


def double(what, addresses):
  if what == 'break':
    raise ValueError('broken on purpose')
  read, written = (np.ctypeslib.as_array((ctypes.c_float * FLOATS).from_address(a)) for a in addresses)
  written[:] = read * int(what)


@pytest.fixture(scope='module')
def doubled():
  ffi.register('test_ffi_double', double)
  return lambda x, what: ffi.call('test_ffi_double', what, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def test_operands_are_read_and_results_written_in_place(doubled):
  x = jnp.arange(6.0).reshape(2, 3)
  np.testing.assert_array_equal(jax.jit(lambda x: doubled(doubled(x + 1, '2'), '3'))(x), 6 * (np.asarray(x) + 1))


def test_calls_are_mapped_one_by_one(doubled):
  x = jnp.arange(12.0).reshape(2, 6)
  np.testing.assert_array_equal(jax.vmap(lambda x: doubled(x, '2'))(x), 2 * np.asarray(x))


def test_an_exception_is_an_error_of_the_program(doubled):
  with pytest.raises(jax.errors.JaxRuntimeError, match='test_ffi_double: ValueError: broken on purpose'):
    jax.block_until_ready(jax.jit(lambda x: doubled(x, 'break'))(jnp.zeros(6)))
