"""The audit of training rows and epochs, on tables small enough to compute by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from noisyjax.data.prepare import Audit
from noisyjax.runs.audit import Auditor
from noisyjax.system import storage

TRUTH = np.array([0, 1, 0, 1, 0, 1], np.int32)
GIVEN = np.array([0, 1, 1, -1, 0, 0], np.int32)
VERIFIED = np.array([-1, -1, -1, -1, 0, -1], np.int32)
TEST = np.zeros((4, 2, 2, 1), np.uint8), np.array([0, 1, 0, 1], np.int32)


def auditor(folder, test=None) -> Auditor:
  """Of six training rows: 1 has no given label, 1 is verified, and of the others two are wrong."""
  data = SimpleNamespace(given=GIVEN, ids=np.arange(6).astype(str), names=np.arange(6).astype(str))
  train = SimpleNamespace(given=GIVEN, verified=VERIFIED)
  prepared = SimpleNamespace(rows=np.arange(6), train=train, data=data, val_rows=np.arange(0), classes=('a', 'b'))
  return Auditor(folder, Audit(TRUTH, test, np.arange(0 if test is None else 4), 'true', {}), prepared)


def test_memorisation_targets_and_selection_of_an_epoch(tmp_path):
  rows = {
    'predicted': np.array([0, 0, 1, 1, 0, -1]),
    'label': np.array([0, 1, 1, -1, 1, 1]),
    'chosen': np.array([True, False, True, True, True, True]),
  }
  auditor(tmp_path).epoch(3, None, 1, rows)
  (line,) = storage.read_lines(tmp_path / 'audit.jsonl')
  assert line == pytest.approx(
    {
      'epoch': 3,
      'train_accuracy_true': 3 / 5,  # of rows that were seen: 0, 3 and 4
      'train_accuracy_given': 3 / 4,  # rows 0, 2 and 4 of those that have a label
      'target_accuracy': 3 / 4,  # rows 0, 1, 5 of 0, 1, 2, 5: row 4 is verified
      'selection_precision': 2 / 3,  # rows 0 and 5 of 0, 2, 5
      'selection_recall': 2 / 3,  # of 0, 1, 5
    }
  )


def test_detection_on_a_table_of_six(tmp_path):
  probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.5, 0.5], [0.1, 0.9], [0.3, 0.7]])
  dynamics = {
    'count': np.array([2, 2, 2, 0, 2, 0]),
    'mean_loss': np.array([0.1, 0.4, 0.3, 9, 9, 9.0]),
    'mean_margin': np.array([2, 1, -1, 0, -9, 0.0]),
    'label': np.array([0, 1, 0, 1, 1, -1]),
    'chosen': np.array([1, 0, 1, 1, 1, np.nan]),
  }
  found = auditor(tmp_path)._detection(probs, None, dynamics)
  assert found == {
    # Rows 0, 1 (right), 2 and 5 (wrong). Margins 0.8, -0.2, -0.6, -0.4.
    'in_sample': {
      'margin': {'auroc': 1.0, 'average_precision': 1.0},
      # Row 5 was never visited: rows 0, 1 and 2. By loss 1 comes before 2, by margin 2 before 1.
      'mean_loss': {'auroc': 0.5, 'average_precision': 0.5},
      'mean_margin': {'auroc': 1.0, 'average_precision': 1.0},
    },
    # Judged are 0, 1 and 2 (5 has no label): 1 was left out, 2 got another label.
    'decision': {'precision': 0.5, 'recall': 1.0, 'f1': pytest.approx(2 / 3)},
  }


def test_the_best_epoch_is_the_run_s_and_one_network_stands_beside_the_vote(tmp_path):
  a, metrics = auditor(tmp_path, TEST), []
  vote = lambda right: np.eye(2)[np.where(np.arange(4) < right, TEST[1], 1 - TEST[1])]
  for epoch, (test, alone, val) in enumerate([(4, 4, 0.9), (1, 2, 0.3), (3, 2, 0.7), (2, 1, 0.7)], 1):
    predictions = vote(test), vote(alone)
    a.epoch(epoch, lambda images, these=predictions: these, networks=2)
    metrics.append({'epoch': epoch, 'val_accuracy': val})
  found = a.result(metrics[1:], vote(3), np.eye(2)[TRUTH])  # a first phase of one epoch does not choose
  assert (found['best_epoch'], found['oracle_epoch'], found['epochs_chosen_from']) == (3, 3, 3)
  assert (found['best_by_validation'], found['last'], found['mean_last_10']) == (0.75, 0.5, 0.5)
  assert found['one_network'] == {'last': 0.25, 'mean_last_10': pytest.approx(5 / 12), 'best_by_validation': 0.5}
  assert found['selected'] == 0.75
