"""The status of a row decides what of it reaches training: its label, its image, or nothing."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import runs
import tiny
from noisyjax.config.build import build_model
from noisyjax.config.plan import Plan, pixel_statistics
from noisyjax.data.training import Status, TrainData
from noisyjax.engine import step, train
from noisyjax.engine.phase import first_targets
from noisyjax.runs import in_memory
from noisyjax.strategies import naive

ROWS = runs.TRAIN
UNLABELED, DROPPED, HELD = (np.isin(np.arange(ROWS), rows) for rows in (range(5, 13), range(60, 70), range(70, 78)))
OUT = DROPPED | HELD
# Given labels alone; verified labels too; images without labels. test_conformance.py poisons rows of every method.
METHODS = ('naive', 'clean_correction', 'fixmatch')


def statuses() -> np.ndarray:
  status = np.full(ROWS, Status.LABELED, np.int8)
  status[UNLABELED], status[DROPPED], status[HELD] = Status.UNLABELED, Status.DROPPED, Status.HELD
  return status


def columns() -> dict[str, np.ndarray]:
  found = {name: values[:ROWS] for name, values in runs.arrays().items() if name != 'classes'}
  return {'images': found['images'], 'given': found['labels'], 'verified': found['verified']}


def poisoned() -> dict[str, np.ndarray]:
  """Other labels where no label may be learned, and other images where no image may be."""
  found = columns()
  nowhere = UNLABELED | OUT
  images = found['images'].copy()
  images[DROPPED] = 255
  images[HELD] = images[HELD][:, ::-1, ::-1]  # as bright as before: of held rows the mean may know
  given, verified = (np.where(nowhere, (found[k] + 1) % 3, found[k]) for k in ('given', 'verified'))
  return {'images': images, 'given': given, 'verified': verified}


def rows(found: dict[str, np.ndarray]) -> TrainData:
  return TrainData(**found, classes=3, status=statuses())


def config(method: str):
  return runs.recipe(strategy__name=method, epochs=4, model__mean=(), model__std=(), data__val='')


@pytest.mark.parametrize('method', METHODS)
def test_dropped_and_held_rows_and_labels_of_unlabeled_rows_reach_no_parameter(method):
  def learnt(data: TrainData):
    state, _ = train.fit(Plan.of(config(method)).engine_phases(data), data, None, jax.random.key(1), in_memory.Silent())
    return state.params, state.stats, of_used(state.targets)

  of_used = lambda targets: jax.tree.map(lambda a: np.asarray(a).compress(~OUT, a.shape.index(ROWS)), targets)
  first = learnt(rows(columns()))
  traced = step.train_step._cache_size()
  assert tiny.same(first, learnt(rows(poisoned())))
  assert step.train_step._cache_size() == traced


def test_a_row_that_was_demoted_has_no_gradient_where_no_stream_takes_unlabeled_rows():
  found = columns()
  images, given, verified = (found[name].copy() for name in ('images', 'given', 'verified'))
  images[UNLABELED] = images[UNLABELED][:, ::-1, ::-1]  # as bright as before
  given[UNLABELED] = verified[UNLABELED] = 0
  other = rows({'images': images, 'given': given, 'verified': verified})
  phases = Plan.of(config('naive')).engine_phases(other)
  fit = lambda data: train.fit(phases, data, None, jax.random.key(1), in_memory.Silent())[0]
  first, second = fit(rows(found)), fit(other)
  assert tiny.same((first.params, first.stats, first.opt), (second.params, second.stats, second.opt))


def test_they_reach_no_classic_estimator():
  fit = lambda found: in_memory.fit(runs.recipe(model__name='histogram'), rows(found)).weights
  assert tiny.same(fit(columns()), fit(poisoned()))


def test_a_row_is_unlabeled_if_and_only_if_it_has_no_label_whoever_says_so():
  found = columns()
  found['given'] = np.where(np.arange(ROWS) < 2, -1, found['given'])  # of these, row 0 alone is verified
  data = rows(found)
  expected = statuses()
  expected[1] = Status.UNLABELED
  assert_array_equal(data.status, expected)
  bare = (data.given < 0) & (data.verified < 0)
  assert_array_equal(bare, data.status != Status.LABELED)
  assert_array_equal(data.used, ~OUT)
  assert_array_equal(data.weight, ~OUT)


def test_a_weight_of_zero_drops_a_row_and_a_held_one_stays_held():
  weight = np.where(np.arange(ROWS) % 2 == 0, 0.0, 3.0)
  data = TrainData(**columns(), classes=3, weight=weight, status=statuses())
  assert_array_equal(data.status == Status.DROPPED, (weight == 0) & ~HELD | DROPPED)
  assert_array_equal(data.status == Status.HELD, HELD)
  assert_array_equal(data.weight, np.where(OUT, 0, weight))


def test_first_targets_are_of_status_and_weight():
  data = TrainData(**columns(), classes=3, weight=np.full(ROWS, 2.0), status=statuses())
  for name, labels in (('given', data.given), ('verified', data.verified)):
    targets = first_targets(tiny.phase(naive.Strategy.build(), labels=name), data)
    assert_array_equal(targets.label, labels)
    assert_array_equal(targets.weight, np.where(OUT, 0, 2))
    assert not np.asarray(targets.labeled)[UNLABELED | OUT].any()


def test_pixels_of_dropped_rows_do_not_count_and_those_of_held_rows_do():
  found, model = columns(), build_model(config('naive'), 3)
  statistics = lambda images: pixel_statistics(config('naive'), model, rows({**found, 'images': images}))
  white = lambda mask: np.where(mask[:, None, None, None], np.uint8(255), found['images'])
  assert statistics(white(DROPPED)) == statistics(found['images']) != statistics(white(HELD))
