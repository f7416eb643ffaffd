"""Early stopping, plateau and selection of the best epoch: the results of `observe` for series of metrics."""

import jax
import numpy as np
import pytest

from noisyjax.engine.state import new_control, observe

look = jax.jit(observe)


def watch(values, accuracies=None, patience=0, delta=0.0, plateau=0, factor=0.5):
  """Returns the control after each epoch, as numpy."""
  control, seen = new_control(), []
  stop = (np.int32(patience), np.float32(delta))
  schedule = (np.int32(plateau), np.float32(factor))
  for epoch, value in enumerate(values, 1):
    accuracy = accuracies[epoch - 1] if accuracies else 0.5
    control, better = look(control, np.float32(value), np.float32(accuracy), np.int32(epoch), stop, schedule)
    seen.append((jax.tree.map(np.asarray, control), bool(better)))
  return [c for c, _ in seen], [b for _, b in seen]


def test_stops_after_patience_epochs_without_improvement():
  controls, _ = watch([1.0, 0.9, 0.95, 0.91, 0.92, 0.1], patience=3)
  assert [bool(c.stopped) for c in controls] == [False, False, False, False, True, True]
  assert [int(c.wait) for c in controls] == [0, 0, 1, 2, 3, 0]
  assert controls[4].best == np.float32(0.9)


def test_patience_zero_never_stops():
  controls, _ = watch([1.0] * 8)
  assert not any(c.stopped for c in controls)


def test_an_improvement_smaller_than_delta_does_not_count():
  controls, _ = watch([1.0, 0.95, 0.92, 0.85], patience=9, delta=0.1)
  assert [int(c.wait) for c in controls] == [0, 1, 2, 0]


def test_plateau_cuts_the_rate_and_counts_anew():
  controls, _ = watch([1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 2.0], plateau=2)
  assert [float(c.lr_scale) for c in controls] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]
  assert not controls[-1].stopped


def test_a_schedule_without_plateau_keeps_the_rate():
  assert watch([1.0] * 6)[0][-1].lr_scale == 1.0


def test_best_epoch_is_the_first_of_the_highest_accuracy_whatever_the_watched_metric_says():
  controls, better = watch([5.0, 4.0, 9.0, 1.0], [0.3, 0.6, 0.6, 0.5])
  assert better == [True, True, False, False]
  assert (int(controls[-1].best_epoch), float(controls[-1].best_accuracy)) == (2, np.float32(0.6))


def test_accuracy_zero_is_still_better_than_none():
  assert watch([1.0], [0.0])[1] == [True]


def test_without_validation_the_latest_epoch_is_the_best():
  controls, better = watch([1.0, 2.0, 3.0], [-1.0] * 3)
  assert better == [True] * 3
  assert int(controls[-1].best_epoch) == 3


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_value_that_is_no_number_is_no_improvement(value):
  controls, _ = watch([value, value], patience=2)
  assert controls[-1].stopped
