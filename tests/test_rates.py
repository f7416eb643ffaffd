"""The numbers a method is built with: noise rates that it may estimate itself, and ranges."""

import math
import types

import jax.numpy as jnp
import numpy as np
import pytest

from noisyjax.config.build import find_strategy
from noisyjax.engine import dynamics
from noisyjax.engine.state import Targets
from noisyjax.estimate import mixture
from noisyjax.strategies import loss_filter, promix
from noisyjax.system.errors import UserError


def losses_of_a_third():
  """1,000 losses of which the first 300 are large, and rows that count: nine of ten."""
  rng = np.random.default_rng(0)
  loss = np.where(np.arange(1000) < 300, rng.normal(4, 0.3, 1000), rng.normal(1, 0.3, 1000)).astype(np.float32)
  return loss, np.arange(1000) % 10 > 0


def test_loss_filter_may_estimate_the_rate():
  loss, keep = losses_of_a_third()
  assert mixture.noise_rate(loss, keep) == pytest.approx(0.3, abs=0.01)
  kept = loss_filter.SPLITS['quantile'](loss, keep, np.float32(-1)) > 0.5
  np.testing.assert_array_equal(kept, keep & (np.arange(1000) >= 300))
  assert loss_filter.Strategy.build(rate=-1.0).needs == ()


@pytest.mark.parametrize('name', ['co_teaching', 'co_teaching_plus', 'jocor'])
def test_co_teaching_and_its_followers_may_estimate_the_rate(name):
  """From the rows' mean losses so far: over both networks and all visits; before any, nothing is forgotten."""
  loss, keep = losses_of_a_third()
  build = find_strategy(name).build
  assert build(forget=-1.0).needs == () and build(forget=0.2).needs == ('rate',)
  d = dynamics.new(2, 1000)
  visits = np.where(keep, [1 + np.arange(1000) % 3, np.full(1000, 3)], 0).astype(np.int32)
  seen = d.replace(visits=visits, loss=loss * visits)
  targets = types.SimpleNamespace(weight=np.ones(1000, np.float32))
  for told, state, want in ((-1.0, seen, 0.3), (-1.0, d, 0.0), (0.2, seen, 0.2)):
    strategy = build(forget=told, ramp=1.0)
    kept, extra = strategy.refresh(types.SimpleNamespace(dynamics=state, targets=targets), {}, None)
    assert kept is targets and extra['forget'] == pytest.approx(want, abs=0.01)
    assert strategy.keep(types.SimpleNamespace(extra=extra), 3) == pytest.approx(1 - want, abs=0.01)


def test_promix_may_estimate_the_rate():
  loss, keep = losses_of_a_third()
  targets = Targets(jnp.arange(1000) // 10 % 5, None, jnp.asarray(keep, jnp.float32), jnp.ones((2, 1000)))
  state, ctx = types.SimpleNamespace(targets=targets, extra={}), types.SimpleNamespace(rows=keep, classes=5)
  build = promix.Strategy.build
  assert build(rho=-1.0).needs == () and build().needs == ('rate',)
  trust = build(rho=-1.0).refresh(state, {'loss': jnp.asarray([loss, loss])}, ctx)[0].trust
  assert trust[0].sum() == pytest.approx(0.7 * keep.sum(), abs=10) and not trust[0, :300].any()


@pytest.mark.parametrize(
  'field, value, expected',
  [
    ('co_teaching.forget', 40, 'a number from 0 to 1, or a negative number to have it estimated'),
    ('loss_filter.threshold', -0.1, 'a number from 0 to 1;'),
    ('elr.beta', 1.5, 'a number from 0 to 1;'),
    ('mixmatch.lambda_u', -75, 'a number of at least 0;'),
    ('divide_mix.warmup', -1, 'a number of at least 0;'),
    ('gce.q', math.nan, 'a number of at least 0;'),
  ],
)
def test_numbers_out_of_range_are_refused(field, value, expected):
  name, own = field.split('.')
  with pytest.raises(UserError, match=rf'strategy\.{name}\.{own}: expected {expected}.*found {value}'):
    find_strategy(name).build(**{own: value})
