"""Scores a run against the true labels and the test rows. No value computed here influences training or selection.

If the test images or the true labels change, all outputs of a run stay bit-identical, except `audit.jsonl`,
`audit.parquet`, the block `audit` of result.json, and the report and pictures made from them. True labels that
`data.trusted` reveals are training data and do not belong to the audit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data.prepare import Audit, Prepared
from noisyjax.estimate import scoring
from noisyjax.system import formats, parquet, storage

# Images uint8 [n, H, W, C] → probabilities [n, C] of the vote, and those of the first network alone or None.
Predict = Callable[[Any], tuple[np.ndarray, np.ndarray | None]]


class Auditor:
  """Writes audit.jsonl and audit.parquet, and computes the block "audit" of result.json.

  Args:
    folder: folder of the run.
    audit: true labels and test rows.
    prepared: data that the run used.
  """

  def __init__(self, folder: Path, audit: Audit, prepared: Prepared) -> None:
    self._audit, self._prepared = audit, prepared
    self._truth = audit.truth[prepared.rows]  # [N] of the training rows
    self._log = storage.JsonLines(folder / 'audit.jsonl')
    self._folder = folder

  def epoch(self, number: int, predict: Predict, networks: int = 1, rows: dict | None = None) -> None:
    """Scores one epoch and appends the scores to audit.jsonl.

    Args:
      number: number of the epoch, from 1.
      predict: function from images to probabilities.
      networks: number of networks M.
      rows: arrays [N] of the training rows, as the training steps saw them: `predicted` (class), `label` (target) and
        `chosen` (whether the row entered the loss); None: the training rows are not scored.
    """
    record: dict[str, Any] = {'epoch': number}
    if self._audit.test is not None:
      images, labels = self._audit.test
      probs, alone = predict(images)
      found = scoring.scores(probs, labels)
      record |= {'test_accuracy': found['accuracy'], 'test_loss': found['loss']}
      if alone is not None and networks > 1:
        record['test_accuracy_one'] = scoring.scores(alone, labels)['accuracy']
    if rows is not None and (self._truth >= 0).any():
      record |= self._rows(**rows)
    self._log.append(record)

  def _rows(self, predicted: np.ndarray, label: np.ndarray, chosen: np.ndarray) -> dict:
    """Returns the scores of the training rows: memorization, correct targets, and selection of correct labels."""
    truth, given = self._truth, self._prepared.train.given
    known = truth >= 0
    record: dict[str, float | None] = {}
    seen = known & (predicted >= 0)
    if seen.any():
      record['train_accuracy_true'] = float((predicted == truth)[seen].mean())
      labeled = seen & (given >= 0)
      record['train_accuracy_given'] = float((predicted == given)[labeled].mean()) if labeled.any() else None
    trained = known & (label >= 0) & (self._prepared.train.verified < 0)  # the method does not choose verified labels
    if trained.any():
      record['target_accuracy'] = float((label == truth)[trained].mean())
    if trained.any() and not chosen[trained].all():
      found = scoring.selection_audit(chosen, np.where(trained, label, -1), truth)
      record |= {'selection_precision': found['precision'], 'selection_recall': found['recall']}
    return record

  def result(
    self,
    metrics: list[dict],
    probs: np.ndarray | None,
    train_probs: np.ndarray,
    val_probs: np.ndarray | None = None,
    dynamics: dict[str, np.ndarray] | None = None,
  ) -> dict:
    """Returns the block "audit" of result.json and writes audit.parquet.

    Args:
      metrics: lines of metrics.jsonl for the epochs that may be selected.
      probs: probabilities of the test rows by the selected networks, [n_test, C]; None without test rows.
      train_probs: probabilities of the training rows by the selected networks, [N, C].
      val_probs: probabilities of the validation rows by the selected networks, [n_val, C]; None without validation.
      dynamics: name → column [N] of the training rows, see `samples.dynamics_table`; None or {} without dynamics.

    Returns:
      The block, for JSON.
    """
    lines = {r['epoch']: r for r in storage.read_lines(self._log.path)}
    a = self._audit
    result: dict[str, Any] = {
      'noise': a.noise,
      'test_rows': len(a.test_rows),
      'test_labels': a.labels,
      'fingerprint': a.fingerprint,
      'source': a.source,
    }
    if self._audit.test is not None and probs is not None:
      labels, classes = self._audit.test[1], self._prepared.classes
      result['selected'] = scoring.scores(probs, labels)['accuracy']
      result['report'] = scoring.report(labels, probs.argmax(1), classes)[1]
      result['calibration_error'] = scoring.calibration_error(probs, labels)
      if metrics:
        offset = metrics[0]['epoch'] - 1
        found = scoring.epoch_summary(
          [m.get('val_accuracy') for m in metrics], [lines[m['epoch']]['test_accuracy'] for m in metrics]
        )
        for name in ('best_epoch', 'oracle_epoch'):
          found[name] = found[name] and found[name] + offset
        result |= found | {'epochs_chosen_from': len(metrics)}
        found_alone = [lines[m['epoch']].get('test_accuracy_one') for m in metrics]
        alone = [accuracy for accuracy in found_alone if accuracy is not None]
        if len(alone) == len(metrics):  # the accuracies above are those of the vote
          best = found['best_epoch']
          result['one_network'] = {
            'last': alone[-1],
            'mean_last_10': float(np.mean(alone[-10:])),
            'best_by_validation': alone[best - offset - 1] if best else None,
          }
    if lines:
      end = lines[max(lines)]
      result |= {k: end[k] for k in ('train_accuracy_true', 'target_accuracy', 'selection_precision') if k in end}
    if detection := self._detection(train_probs, val_probs, dynamics):
      result['detection'] = detection
    self._write_rows(probs, train_probs)
    return result

  def _detection(self, train_probs: np.ndarray, val_probs: np.ndarray | None, dynamics: dict | None) -> dict:
    """Scores the detection of wrong given labels. Verified training rows are excluded.

    Args:
      train_probs: probabilities of the training rows by the selected networks, [N, C].
      val_probs: probabilities of the validation rows by the selected networks, [n_val, C]; None without validation.
      dynamics: name → column [N] of the training rows; None or {} without dynamics.

    Returns:
      in_sample: scores of rankings of the training rows: by the loss and the margin against the targets, averaged over
        the epochs that may be selected ("mean_loss", "mean_margin"), and by the margin of the given label in the
        selected networks ("margin").
      decision: scores of the method's own decision on training rows with a given label and a target: a row is flagged
        if the last epoch excluded it from the loss or if its target differs from the given label.
      held_out: scores of the selected networks on the validation rows, which are not trained on: a row is flagged if
        another class is more likely than the given label.

      An entry is missing if its rows lack correct or wrong given labels, if its inputs are missing, or if a decision
      flags no row.
    """
    p, found = self._prepared, {}

    def scored(
      flagged: np.ndarray, scores: np.ndarray, given: np.ndarray, truth: np.ndarray, *parts: str
    ) -> dict[str, float]:
      found = scoring.detection_audit(flagged, scores, given, np.where(np.isfinite(scores), truth, -1))
      return {part: found[part] for part in parts}

    def both_kinds(given: np.ndarray, truth: np.ndarray) -> bool:
      return len(np.unique((given == truth)[(given >= 0) & (truth >= 0)])) == 2

    given, truth = np.where(p.train.verified >= 0, -1, p.train.given), self._truth
    if both_kinds(given, truth):
      signals = {'margin': -scoring.margin(train_probs, given)}
      if dynamics:
        seen = dynamics['count'] > 0
        signals['mean_loss'] = np.where(seen, dynamics['mean_loss'], np.nan)
        signals['mean_margin'] = np.where(seen, -dynamics['mean_margin'], np.nan)
        judged = (given >= 0) & (dynamics['label'] >= 0) & np.isfinite(dynamics['chosen'])
        flagged = judged & ((dynamics['label'] != given) | (dynamics['chosen'] < 0.5))
        if flagged.any():
          scores = np.where(judged, flagged, np.nan)
          found['decision'] = scored(flagged, scores, given, truth, 'precision', 'recall', 'f1')
      nobody = np.zeros(len(given), bool)
      found['in_sample'] = {
        name: scored(nobody, values, given, truth, 'auroc', 'average_precision') for name, values in signals.items()
      }
    given, truth = p.data.given[p.val_rows], self._audit.truth[p.val_rows]
    if val_probs is not None and both_kinds(given, truth):
      scores = -scoring.margin(val_probs, given)
      found['held_out'] = {'rows': int(((given >= 0) & (truth >= 0)).sum())}
      found['held_out'] |= scored(
        val_probs.argmax(1) != given, scores, given, truth, 'precision', 'recall', 'f1', 'auroc', 'average_precision'
      )
    return found

  def _write_rows(self, probs: np.ndarray | None, train_probs: np.ndarray) -> None:
    """Writes audit.parquet: the training and test rows with a known true label, and their predictions."""
    p = self._prepared
    parts = [('train', p.rows, self._truth, train_probs)]
    if probs is not None and self._audit.test is not None:
      parts.append(('test', self._audit.test_rows, self._audit.test[1], probs))
    kept = [(name, np.flatnonzero(true >= 0), rows, true, votes) for name, rows, true, votes in parts]
    blocks = (
      {
        'row': rows[here],
        'id': p.data.ids[rows[here]],
        'name': p.data.names[rows[here]],
        'split': np.full(len(here), name),
        'true': true[here],
        'predicted': votes[here].argmax(1).astype(np.int32),
        'confidence': votes[here].max(1),
      }
      for name, keep, rows, true, votes in kept
      for here in (keep[block] for block in parquet.blocks_of(len(keep)))
    )
    if any(len(keep) for _, keep, *_ in kept):
      parquet.write_blocks(self._folder / 'audit.parquet', blocks, formats.stamped(formats.RUN, {}))
