"""Scores: accuracy, per-class report, calibration, and the audit of selections and detections against the truth.

Numpy only. A label below zero (unlabeled, unchecked, truth unknown) is never a class: such rows are left out. A ratio
with nothing in its denominator is NaN, which the writer stores as null: "not known" is not "0".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn import metrics


def scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Accuracy and mean cross-entropy (nats) of `probs [N, C]` against `labels [N]`, over the labeled rows.

  A probability that underflowed counts as float32's smallest, so that one row costs at most 87.3 nats.
  """
  probs, labels = _labeled(np.asarray(probs), labels)
  if not len(labels):
    return {'accuracy': float('nan'), 'loss': float('nan')}
  own = probs[np.arange(len(labels)), labels].astype(np.float64)
  loss = -np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()
  return {'accuracy': float((probs.argmax(-1) == labels).mean()), 'loss': float(loss)}


def report(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> tuple[str, dict]:
  """scikit-learn's classification report, as text and as a dict, with every class in order even where it is empty."""
  predicted, labels = _labeled(np.asarray(predicted), labels)
  options = {'labels': range(len(classes)), 'target_names': list(classes), 'zero_division': 0}
  text = metrics.classification_report(labels, predicted, **options)
  return text, metrics.classification_report(labels, predicted, output_dict=True, **options)


def confusion(labels: np.ndarray, predicted: np.ndarray, n: int) -> np.ndarray:
  """Counts `[n, n]`: rows = `labels`, columns = `predicted`; rows where either is below zero are left out.

  With (true, given) it counts the noise: divided by its row sums, it is the transition matrix `T`.
  """
  labels, predicted = np.asarray(labels), np.asarray(predicted)
  both = (labels >= 0) & (predicted >= 0)
  return np.bincount(labels[both].astype(np.int64) * n + predicted[both], minlength=n * n).reshape(n, n)


class Reliability(NamedTuple):
  """Rows by their confidence, in equal bins (low, high] of 0 to 1; NaN in a bin without rows.

  Attributes:
    rows: int [bins]. confidence: mean [bins]. accuracy: [bins].
  """

  rows: np.ndarray
  confidence: np.ndarray
  accuracy: np.ndarray

  def error(self) -> float:
    """Returns the expected calibration error: mean |accuracy - confidence|, weighted by rows per bin."""
    gap = np.abs(np.nan_to_num(self.accuracy - self.confidence))
    return float((gap * self.rows).sum() / self.rows.sum()) if self.rows.any() else float('nan')


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
  """Bins rows by confidence [N] and counts how many of them are right, bool [N].

  Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3 to 5.
  """
  confidence = np.asarray(confidence, np.float64)
  bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  rows = np.bincount(bin_of, minlength=bins)
  mean = lambda values: np.divide(
    np.bincount(bin_of, weights=values, minlength=bins), rows, out=np.full(bins, np.nan), where=rows > 0
  )
  return Reliability(rows, mean(confidence), mean(np.asarray(right, np.float64)))


def calibration_error(probs: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
  """Expected calibration error of `probs [N, C]`; NaN where nothing is labeled."""
  probs, labels = _labeled(np.asarray(probs), labels)
  return reliability(probs.max(-1), probs.argmax(-1) == labels, bins).error()


def margin(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """The label's value less the largest other one `[N]`; `values [N, C]` are probabilities or logits.

  Averaged over epochs of logits this is the AUM of Pleiss et al. 2020. NaN where there is no label.
  """
  values, labels = np.asarray(values), np.asarray(labels)
  own = np.arange(values.shape[-1]) == labels[:, None]  # [N, C]
  others = np.where(own, -np.inf, values).max(-1)
  return np.where(labels >= 0, np.where(own, values, 0).sum(-1) - others, np.nan)


def selection_audit(chosen: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Precision, recall and F1 of "this row was kept, and its label is right", over rows with label and truth.

  Args:
    chosen: bool [N], the rows kept.
    given: int [N], the labels they were kept with.
    truth: int [N], -1 = unknown.
  """
  known = (np.asarray(given) >= 0) & (np.asarray(truth) >= 0)
  return _precision_recall(np.asarray(chosen, bool)[known], (np.asarray(given) == np.asarray(truth))[known])


def detection_audit(flagged: np.ndarray, scores: np.ndarray, given: np.ndarray, truth: np.ndarray) -> dict[str, float]:
  """Precision, recall, F1, AUROC and average precision of "the given label is wrong", over rows with label and truth.

  Args:
    flagged: bool [N], the rows called wrong.
    scores: float [N], higher = more likely wrong; only their order counts.
    given: int [N].
    truth: int [N], -1 = unknown.
  """
  known = (np.asarray(given) >= 0) & (np.asarray(truth) >= 0)
  wrong = (np.asarray(given) != np.asarray(truth))[known]
  ranked = np.asarray(scores)[known]
  found = _precision_recall(np.asarray(flagged, bool)[known], wrong)
  found['auroc'] = float(metrics.roc_auc_score(wrong, ranked)) if 0 < wrong.sum() < len(wrong) else float('nan')
  found['average_precision'] = float(metrics.average_precision_score(wrong, ranked)) if wrong.any() else float('nan')
  return found


def epoch_summary(val: Sequence[float | None], test: Sequence[float]) -> dict[str, float | int | None]:
  """One test accuracy per way of choosing the epoch. Epochs count from 1; the earliest wins a tie.

  Args:
    val: accuracy on the validation rows after each epoch; None (or NaN) where it was not measured.
    test: accuracy on the test rows after each epoch.

  Returns:
    last, mean_last_10 (of all epochs if fewer), best_by_validation and best_epoch (None without validation), and
    oracle and oracle_epoch: chosen on the test rows themselves, so never a result.
  """
  if len(val) != len(test):
    raise ValueError(f'{len(val)} validation epochs, {len(test)} test epochs')
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
  labels = np.asarray(labels)
  return values[labels >= 0], labels[labels >= 0]


def _precision_recall(called: np.ndarray, is_so: np.ndarray) -> dict[str, float]:
  hits, calls, cases = int((called & is_so).sum()), int(called.sum()), int(is_so.sum())

  def ratio(part: int, whole: int) -> float:
    return part / whole if whole else float('nan')

  return {'precision': ratio(hits, calls), 'recall': ratio(hits, cases), 'f1': ratio(2 * hits, calls + cases)}
