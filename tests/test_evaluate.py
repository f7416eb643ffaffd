import numpy as np
import pytest
from sklearn import metrics

from noisyjax.estimate import scoring


def softmax(logits):
  p = np.exp(logits - logits.max(-1, keepdims=True))
  return p / p.sum(-1, keepdims=True)


@pytest.fixture
def guesses():
  rng = np.random.default_rng(0)
  return softmax(rng.normal(size=(200, 5)) * 2), rng.integers(-1, 5, 200)


def test_scores_equal_sklearn_over_the_labeled_rows(guesses):
  probs, labels = guesses
  known = labels >= 0
  found = scoring.scores(probs, labels)
  assert found['accuracy'] == metrics.accuracy_score(labels[known], probs[known].argmax(1))
  np.testing.assert_allclose(found['loss'], metrics.log_loss(labels[known], probs[known], labels=range(5)))


def test_unlabeled_rows_never_count_as_the_last_class():
  probs = np.array([[0.9, 0.1], [0.1, 0.9]])
  assert scoring.scores(probs, np.array([0, -1]))['accuracy'] == 1
  assert scoring.scores(1 - probs, np.array([0, -1]))['accuracy'] == 0
  assert np.isnan(scoring.scores(probs, np.array([-1, -1]))['loss'])


def test_an_underflowed_probability_costs_a_finite_loss():
  loss = scoring.scores(np.array([[1.0, 0.0]], np.float32), np.array([1]))['loss']
  np.testing.assert_allclose(loss, 87.336, atol=1e-3)


def test_report_lists_every_class_in_order():
  text, rows = scoring.report(np.array([2, 0, 2, -1]), np.array([2, 2, 2, 1]), ['b', 'empty', 'a'])
  assert text.index(' b ') < text.index('empty') < text.index(' a ')
  assert list(rows)[:3] == ['b', 'empty', 'a']
  assert rows['empty']['support'] == 0 and rows['a']['recall'] == 1
  np.testing.assert_allclose(rows['accuracy'], 2 / 3)


def test_confusion_has_labels_as_rows():
  counts = scoring.confusion(np.array([0, 0, 1, -1, 2]), np.array([1, 1, 1, 2, -1]), 3)
  assert counts.tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_calibration_error_golden_values():
  # 4 rows at confidence 0.8, half of them right: |0.5 - 0.8|. One row at 1.0, right: no gap.
  probs = np.array([[0.8, 0.2]] * 4 + [[1.0, 0.0]])
  labels = np.array([0, 0, 1, 1, 0])
  np.testing.assert_allclose(scoring.calibration_error(probs, labels), 4 / 5 * 0.3)
  # 0.61 (right) and 0.69 (wrong): in one of 5 bins, (0.6, 0.8], they offset; in 15 bins they stand apart.
  probs, labels = np.array([[0.61, 0.39], [0.69, 0.31]]), np.array([0, 1])
  np.testing.assert_allclose(scoring.calibration_error(probs, labels, bins=5), 0.15)
  np.testing.assert_allclose(scoring.calibration_error(probs, labels, bins=15), (0.39 + 0.69) / 2)
  # A confidence on the border belongs to the bin below it.
  probs, labels = np.array([[0.5, 0.5], [0.6, 0.4]]), np.array([0, 1])
  np.testing.assert_allclose(scoring.calibration_error(probs, labels, bins=2), (0.5 + 0.6) / 2)


def test_calibration_error_by_its_definition(guesses):
  probs, labels = guesses
  probs, labels = probs[labels >= 0], labels[labels >= 0]
  confidence, right = probs.max(1), probs.argmax(1) == labels
  expected = 0.0
  for low, high in zip(np.arange(15) / 15, np.arange(1, 16) / 15):
    inside = (confidence > low) & (confidence <= high)
    if inside.any():
      expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
  np.testing.assert_allclose(scoring.calibration_error(*guesses), expected)


def test_margin():
  values = np.array([[3.0, 1, 2], [3, 1, 2], [3, 1, 2]])
  np.testing.assert_array_equal(scoring.margin(values, np.array([0, 1, -1])), [1, -2, np.nan])


def test_margin_is_positive_exactly_where_the_label_is_predicted(guesses):
  probs, labels = guesses
  np.testing.assert_array_equal(scoring.margin(probs, labels) > 0, probs.argmax(1) == labels)


def test_selection_audit():
  given, truth = np.array([0, 1, 1, 0, -1, 1]), np.array([0, 1, 0, 1, 0, -1])
  chosen = np.array([True, False, True, False, True, True])  # the last two rows cannot be judged
  assert scoring.selection_audit(chosen, given, truth) == {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
  perfect = scoring.selection_audit(given == truth, given, truth)
  assert perfect == {'precision': 1, 'recall': 1, 'f1': 1}
  nothing = scoring.selection_audit(np.zeros(6, bool), given, truth)
  assert np.isnan(nothing['precision']) and nothing['recall'] == 0 and nothing['f1'] == 0


def test_detection_audit_reproduces_the_lmnl_example():
  """UCSC-REAL/cifar-10-100n, branch ijcai-lmnl-2022: an oracle that flags a random half of the wrong labels."""
  truth = np.zeros(10000, int)
  given = (np.arange(10000) < 2872).astype(int)  # 2,872 wrong, of which 1,449 are flagged
  flagged = np.arange(10000) < 1449
  found = scoring.detection_audit(flagged, flagged, given, truth)
  assert found['precision'] == 1.0
  np.testing.assert_allclose(found['recall'], 0.5045264623955432, rtol=1e-15)
  np.testing.assert_allclose(found['f1'], 0.6706780837769035, rtol=1e-15)


def test_detection_audit_equals_sklearn():
  rng = np.random.default_rng(1)
  given, truth = rng.integers(-1, 3, 300), rng.integers(-1, 3, 300)
  ranked = rng.normal(size=300) + (given != truth)
  found = scoring.detection_audit(ranked > 0.5, ranked, given, truth)
  known = (given >= 0) & (truth >= 0)
  wrong, scores = (given != truth)[known], ranked[known]
  precision, recall, f1, _ = metrics.precision_recall_fscore_support(wrong, scores > 0.5, average='binary')
  expected = [
    precision,
    recall,
    f1,
    metrics.roc_auc_score(wrong, scores),
    metrics.average_precision_score(wrong, scores),
  ]
  np.testing.assert_allclose(list(found.values()), expected)


def test_detection_audit_without_wrong_labels_knows_nothing():
  labels = np.array([0, 1])
  found = scoring.detection_audit(np.array([False, False]), np.array([0.1, 0.2]), labels, labels)
  assert all(np.isnan(value) for value in found.values())


def test_epoch_summary_takes_the_earliest_of_equals():
  val, test = [float('nan'), 0.7, 0.7, None, 0.6], [0.1, 0.2, 0.9, 0.9, 0.4]
  assert scoring.epoch_summary(val, test) == {
    'last': 0.4,
    'mean_last_10': 0.5,
    'best_by_validation': 0.2,
    'best_epoch': 2,
    'oracle': 0.9,
    'oracle_epoch': 3,
  }


def test_epoch_summary_averages_ten_epochs_only():
  assert scoring.epoch_summary([None] * 12, [0, 0] + [1] * 10)['mean_last_10'] == 1


@pytest.mark.parametrize('val', [[None] * 3, [float('nan')] * 3])
def test_epoch_summary_without_validation(val):
  found = scoring.epoch_summary(val, [0.1, 0.3, 0.2])
  assert found['best_by_validation'] is None and found['best_epoch'] is None
  assert (found['last'], found['oracle_epoch']) == (0.2, 2)


def test_validation_epoch_does_not_depend_on_the_test_rows():
  val = [0.1, 0.4, 0.3]
  assert {scoring.epoch_summary(val, t)['best_epoch'] for t in ([0, 0, 1], [1, 0, 0], [0.2, 0.1, 0])} == {2}


def test_epoch_summary_of_nothing():
  assert set(scoring.epoch_summary([], []).values()) == {None}
  with pytest.raises(ValueError):
    scoring.epoch_summary([0.1], [0.1, 0.2])


def test_reliability_counts_each_bin():
  confidence = np.array([0.05, 0.1, 0.15, 0.95, 0.96, 1.0])
  right = np.array([True, False, True, True, True, False])
  found = scoring.reliability(confidence, right, 10)
  assert found.rows.tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 3] and np.isnan(found.accuracy[2:9]).all()
  np.testing.assert_allclose(found.accuracy[[0, 1, 9]], [0.5, 1, 2 / 3])
  np.testing.assert_allclose(found.confidence[[0, 9]], [0.075, 0.97])
  assert found.error() == pytest.approx((2 * 0.425 + 0.85 + 3 * (0.97 - 2 / 3)) / 6)
