"""AUM against float64 numpy and its official code: running margins, threshold rows, and rows for retraining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  Given,
  assert_descended,
  descended,
  entered,
  logits_of,
  mean_error,
  notices,
  phase_of,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from configs import base
from noisyjax.config.check import checked
from noisyjax.config.plan import phases_of
from noisyjax.engine import train
from noisyjax.strategies import aum, aum_margins, naive
from noisyjax.system.errors import UserError
from tiny import CLASSES, ROOT, ROWS

AUM, MARGINS = aum.Strategy.build(percentile=50.0), aum_margins.Strategy.build()


def aum_update(strategy, extra, epoch, index, logits, label, epochs=9.0, weight=None):
  """The memories after one step on given logits [M, B, C + 1]."""
  logits = np.asarray(logits)
  classes = logits.shape[-1] - 1
  label = jnp.asarray(label)
  b = {
    'weak': None,
    'weight': jnp.ones(len(label)) if weight is None else jnp.asarray(weight),
    'label': label,
    'target': jax.nn.one_hot(label, classes),
    'index': jnp.asarray(index),
  }
  state = type('State', (), {'extra': extra})
  ctx = Given(jnp.asarray(logits, jnp.float32), jnp.int32(epoch), epochs=jnp.float32(epochs))
  return strategy.loss(None, state, {'train': b}, ctx)[1].extra


def nobody(networks=1, rows=3):
  _, extra = aum_margins.Strategy.build(networks=networks).init(None, tiny.data(rows))
  return extra


def test_aum_of_the_official_codes_test():
  strategy = aum_margins.Strategy.build(networks=1)
  low = [[-99.0]] * 2  # the extra class
  extra = aum_update(strategy, nobody(), 1, [0, 1], [np.hstack([[[1, 2, 3], [6, 5, 4]], low])], [1, 0])
  extra = aum_update(strategy, extra, 2, [1, 2], [np.hstack([[[7, 8, 9], [12, 11, 10]], low])], [2, 1])
  assert_array_equal(extra['count'], [[1, 2, 1]])
  assert_allclose(extra['margin'] / extra['count'], [[-1, 1, -1]])


def test_aum_measures_a_row_once_an_epoch_and_not_in_the_first():
  strategy = aum_margins.Strategy.build(networks=1)
  logits = np.array([[[5.0, 1, 0], [3, 0, 0], [9, 0, 0], [7, 0, 0]]])
  first = aum_update(strategy, nobody(), 0, [0, 1, 2, 1], logits, [0] * 4)
  assert not first['count'].any() and not first['margin'].any()
  only = aum_update(strategy, nobody(), 0, [0, 1, 2, 1], logits, [0] * 4, epochs=1.0)
  assert_allclose(only['margin'], [[4, 3, 9]])
  one = aum_update(strategy, first, 1, [0, 1, 0, 1], logits, [0] * 4)  # wrap-around within a batch: the first counts
  assert_allclose(one['margin'], [[4, 3, 0]])
  again = aum_update(strategy, one, 1, [1, 2, 1, 1], logits, [0, 0, 0, 0], weight=[1, 1, 1, 0])  # and across batches
  assert_allclose(again['margin'], [[4, 3, 3]])
  assert_array_equal(again['count'], [[1, 1, 1]])
  later = aum_update(strategy, again, 2, [1, 2, 0, 0], logits, [0, 0, 0, 0], weight=[1, 0, 0, 1])
  assert_allclose(later['margin'], [[4 + 7, 3 + 5 - 1, 3]])  # 5 − max(1, 0) = 4


def check_aum(margins, strategy):
  """A measuring phase of two epochs on the engine, then the retraining phase that its AUMs decide."""
  phase, _, state = entered(margins, epoch=1, reset='all')
  threshold = np.asarray(state.extra['threshold'])
  assert_array_equal(threshold.sum(1), LABELED.sum() // (CLASSES + 1))
  assert not (threshold[0] & threshold[1]).any() and not threshold[:, ~LABELED].any()
  index = rows_of(LABELED, state)
  logits = logits_of(state.params['net'], PIXELS[index])  # [2, B, 4]
  wide = np.eye(CLASSES + 1)
  assigned = np.where(threshold[:, index], CLASSES, DATA.given[index])  # [2, B]
  new, metrics = tiny.advance(phase, state, DATA)
  assert_descended(new, *descended(state.params['net'], PIXELS[index], mean_error(logits, wide[assigned], 1.0)))
  right = logits[..., :CLASSES].argmax(-1) == DATA.given[index]
  assert_allclose(tiny.mean(metrics, 'accuracy'), right.mean(), rtol=1e-5)
  own = (logits * wide[assigned]).sum(-1)
  margin = np.zeros((2, ROWS))
  margin[:, index] = own - np.where(wide[assigned] > 0, -np.inf, logits).max(-1)
  assert_allclose(new.extra['margin'], margin, rtol=1e-4, atol=1e-4)

  # As if two epochs of margins had been measured; row 10 never was.
  rng = np.random.default_rng(4)
  sums = rng.normal(size=(2, ROWS)).astype(np.float32)
  count = np.where(np.arange(ROWS) == 10, 0, 2) * np.ones((2, 1), int)
  new = new.replace(extra=new.extra | {'margin': jnp.asarray(sums), 'count': jnp.asarray(count, jnp.int32)})
  retrain = phase_of(strategy, reset='all')
  state = tiny.start(retrain, DATA, new, 2)
  average = sums / 2
  lines = [np.median(average[m, threshold[m] & (count[m] > 0)]) for m in (0, 1)]
  apart = [[average[m, i] - lines[m] for m in (0, 1) if not threshold[m, i]] for i in range(ROWS)]
  good = np.array([np.mean(a) >= 0 for a in apart])
  good[10] = True
  assert 5 < good[LABELED].sum() < LABELED.sum() - 5
  assert_array_equal(np.asarray(state.targets.trust[0] > 0)[LABELED], good[LABELED])
  assert_array_equal(state.masks['train'], good & LABELED)
  assert state.extra == {} and state.params['net']['head']['bias'].shape == (1, CLASSES)
  index = rows_of(good & LABELED, state)
  done, _ = tiny.advance(retrain, state, DATA)
  logits = logits_of(state.params['net'], PIXELS[index])
  assert_descended(done, *descended(state.params['net'], PIXELS[index], mean_error(logits, GIVEN[index], 1.0)))


def test_aum_measures_and_retrains_as_the_reference():
  notices(lambda own: check_aum(own, AUM), MARGINS)
  notices(lambda own: check_aum(MARGINS, own), AUM)


def test_aum_threshold_rows_stay_theirs_all_along():
  phase, _, state = entered(MARGINS, epoch=0, reset='all')
  later = state.replace(phase_epoch=jnp.int32(3))
  again = train.refreshed(phase, later, jnp.asarray(DATA.images), ROOT)
  assert_array_equal(again.extra['threshold'], state.extra['threshold'])
  assert_array_equal(again.targets.label, state.targets.label)
  assert not np.asarray(state.extra['threshold'])[:, ~IN].any()


def test_aum_judges_by_the_official_percentile():
  # 100 threshold rows with AUM 0, 1, … 99: more than 1 % of them exceed a row whose AUM is below 98.01.
  margin = jnp.asarray([*range(100), 98, 98.02, 120, -5], jnp.float32)[None]
  threshold = jnp.arange(104)[None] < 100
  good = aum.keep(margin, jnp.ones((1, 104), jnp.int32), threshold, jnp.ones(104, bool), 99.0)
  assert_array_equal(good[100:], [False, True, True, False])
  # Without a measured threshold row nothing is dropped.
  assert aum.keep(margin, jnp.ones((1, 104), jnp.int32), threshold & False, jnp.ones(104, bool), 99.0).all()
  assert aum.keep(margin, jnp.zeros((1, 104), jnp.int32), threshold, jnp.ones(104, bool), 99.0).all()


def test_aum_votes_without_its_extra_class():
  logits = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
  assert_allclose(MARGINS.probs(jnp.asarray(logits)), softmax(np.float64(logits[..., :3])).mean(0), rtol=1e-5)


@pytest.mark.parametrize('epochs, want', [(450, (150, 300)), (2, (1, 1)), (3, (1, 2)), (1, (1, 1))])
def test_aum_plans_to_measure_and_then_to_retrain(epochs, want):
  settings = base.get_config()
  settings.strategy.name, settings.epochs, settings.schedule.name = 'aum', epochs, 'cosine'
  checked(settings)
  (before, first, measuring), (name, second, retraining) = phases_of(settings)
  assert (first, second) == want
  assert measuring.schedule.name == 'constant' and retraining.schedule.name == 'cosine' and retraining.reset == 'all'
  assert (before, name) == ('aum_margins', 'aum')


def test_aum_retrains_only_after_it_measured():
  before = tiny.start(phase_of(naive.Strategy.build()), DATA)
  with pytest.raises(UserError, match="needs the margins of 'aum_margins'"):
    tiny.start(phase_of(AUM, reset='all'), DATA, before, 1)
