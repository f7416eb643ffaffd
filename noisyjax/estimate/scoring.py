"""Metrics: accuracy, classification report, calibration, and the audit of selections and detections.

All functions use numpy arrays. Rows whose label is negative (unlabeled, not verified, truth unknown) are left out. A
ratio with a zero denominator is NaN, which `storage` writes as null, because an unknown value is not 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics

from noisyjax.estimate.pairs import count_pairs


def scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns the accuracy and the mean cross-entropy (nats) of `probs [N, C]` against `labels [N]`, over labeled rows.

  Probabilities are at least float32's smallest normal number, which limits the loss of a row to 87.3 nats.
  """
  probs, labels = _labeled(np.asarray(probs), labels)
  if not len(labels):
    return {'accuracy': float('nan'), 'loss': float('nan')}
  own = probs[np.arange(len(labels)), labels].astype(np.float64)
  loss = -np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()
  return {'accuracy': float((probs.argmax(-1) == labels).mean()), 'loss': float(loss)}


def report(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> tuple[str, dict]:
  """Returns scikit-learn's classification report as text and as a dict, with all classes in order, also empty ones."""
  predicted, labels = _labeled(np.asarray(predicted), labels)
  options = {'labels': range(len(classes)), 'target_names': list(classes), 'zero_division': 0}
  text = metrics.classification_report(labels, predicted, **options)
  return text, metrics.classification_report(labels, predicted, output_dict=True, **options)


def confusion(labels: np.ndarray, predicted: np.ndarray, n: int) -> np.ndarray:
  """Returns the confusion matrix `[n, n]`: rows = `labels`, columns = `predicted`; pairs with a negative are left out.

  For (true, given) labels it counts the noise: divided by its row sums, it is the transition matrix `T`.
  """
  return count_pairs(np.asarray(labels), np.asarray(predicted), n)


class Reliability(NamedTuple):
  """A reliability diagram: rows grouped by confidence into bins (low, high] of equal width in [0, 1].

  Attributes:
    rows: number of rows in each bin, int [bins].
    confidence: mean confidence [bins]; NaN in an empty bin.
    accuracy: accuracy [bins]; NaN in an empty bin.
  """

  rows: np.ndarray
  confidence: np.ndarray
  accuracy: np.ndarray

  def error(self) -> float:
    """Returns the expected calibration error: mean |accuracy - confidence|, weighted by rows per bin."""
    gap = np.abs(np.nan_to_num(self.accuracy - self.confidence))
    return float((gap * self.rows).sum() / self.rows.sum()) if self.rows.any() else float('nan')


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
  """Returns the reliability diagram (Guo et al. 2017, "On Calibration of Modern Neural Networks", eqs. 3 to 5).

  Args:
    confidence: probability of the predicted class [N].
    right: whether the prediction is right, bool [N].
    bins: number of bins.
  """
  confidence = np.asarray(confidence, np.float64)
  bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  rows = np.bincount(bin_of, minlength=bins)
  mean = lambda values: np.divide(
    np.bincount(bin_of, weights=values, minlength=bins), rows, out=np.full(bins, np.nan), where=rows > 0
  )
  return Reliability(rows, mean(confidence), mean(np.asarray(right, np.float64)))


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
  """Returns the expected calibration error of `probs [N, C]`; NaN if no row is labeled."""
  probs, labels = _labeled(np.asarray(probs), labels)
  return reliability(probs.max(-1), probs.argmax(-1) == labels, bins).error()


def margin(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the value of the label minus the largest other value `[N]`; NaN for unlabeled rows.

  The mean of the margin of the logits over epochs is the AUM of Pleiss et al. 2020.

  Args:
    values: probabilities or logits `[N, C]`.
    labels: int `[N]`.
  """
  values, labels = np.asarray(values), np.asarray(labels)
  own = np.arange(values.shape[-1]) == labels[:, None]  # [N, C]
  others = np.where(own, -np.inf, values).max(-1)
  return np.where(labels >= 0, np.where(own, values, 0).sum(-1) - others, np.nan)


def selection_audit(chosen: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Returns precision, recall and F1 of a selection of rows with right labels, over rows with given and true label.

  Args:
    chosen: bool [N], the selected rows.
    given: int [N], given labels; -1 = unlabeled.
    truth: int [N], true labels; -1 = unknown.
  """
  known = (np.asarray(given) >= 0) & (np.asarray(truth) >= 0)
  return _precision_recall(np.asarray(chosen, bool)[known], (np.asarray(given) == np.asarray(truth))[known])


def detection_audit(flagged: np.ndarray, scores: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Returns precision, recall, F1, AUROC and average precision of wrong-label detection, over rows with both labels.

  Args:
    flagged: bool [N], the rows flagged as wrong.
    scores: float [N], higher = more likely wrong; only their order matters.
    given: int [N], given labels; -1 = unlabeled.
    truth: int [N], true labels; -1 = unknown.
  """
  known = (np.asarray(given) >= 0) & (np.asarray(truth) >= 0)
  wrong = (np.asarray(given) != np.asarray(truth))[known]
  ranked = np.asarray(scores)[known]
  found = _precision_recall(np.asarray(flagged, bool)[known], wrong)
  found['auroc'] = float(metrics.roc_auc_score(wrong, ranked)) if 0 < wrong.sum() < len(wrong) else float('nan')
  found['average_precision'] = float(metrics.average_precision_score(wrong, ranked)) if wrong.any() else float('nan')
  return found


def epoch_summary(val: Sequence[float | None], test: Sequence[float]) -> dict[str, float | int | None]:
  """Returns the test accuracy under each rule for choosing the epoch. Epochs count from 1; the earliest wins a tie.

  Args:
    val: accuracy on the validation rows after each epoch; None or NaN where it was not measured.
    test: accuracy on the test rows after each epoch.

  Returns:
    last: test accuracy after the last epoch.
    mean_last_10: mean test accuracy of the last 10 epochs (of all, if fewer).
    best_by_validation: test accuracy of the epoch with the best validation accuracy; None without validation.
    best_epoch: that epoch; None without validation.
    oracle: best test accuracy. It is chosen on the test rows themselves, so never report it as a result.
    oracle_epoch: the epoch of the best test accuracy.
  """
  if len(val) != len(test):
    raise ValueError(f'Found {len(val)} validation epochs and {len(test)} test epochs, expected equal numbers.')
  if not len(test):
    return dict.fromkeys(('last', 'mean_last_10', 'best_by_validation', 'best_epoch', 'oracle', 'oracle_epoch'))
  ranked = np.asarray([-np.inf if v is None or np.isnan(v) else v for v in val])
  best = int(ranked.argmax()) if np.isfinite(ranked).any() else None
  oracle = int(np.argmax(test))
  return {
    'last': float(test[-1]),
    'mean_last_10': float(np.mean(test[-10:])),
    'best_by_validation': None if best is None else float(test[best]),
    'best_epoch': None if best is None else best + 1,
    'oracle': float(test[oracle]),
    'oracle_epoch': oracle + 1,
  }


def _labeled(values: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns values and labels of the labeled rows."""
  labels = np.asarray(labels)
  return values[labels >= 0], labels[labels >= 0]


def _precision_recall(predicted: np.ndarray, actual: np.ndarray) -> dict[str, float]:
  """Returns precision, recall and F1 of predicted against actual positives, both bool [N]."""
  hits, calls, cases = int((predicted & actual).sum()), int(predicted.sum()), int(actual.sum())

  def ratio(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')

  return {'precision': ratio(hits, calls), 'recall': ratio(hits, cases), 'f1': ratio(2 * hits, calls + cases)}
