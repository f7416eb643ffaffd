"""report.html: the report of a finished run on one page, without external resources."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from noisyjax.config.flat import flat
from noisyjax.estimate import scoring
from noisyjax.estimate.interval import wilson
from noisyjax.estimate.pairs import confusions, shares
from noisyjax.reports import formatting, html
from noisyjax.reports.record import Record, nested

CSS = """
h2{font-size:17px;margin:0 0 10px}p{margin:6px 0}
section{background:#fff;border:1px solid #e1e4e8;border-radius:10px;padding:18px 20px;margin:16px 0;overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid #eceef1;vertical-align:top}
th{font-weight:600;color:#57606a}td.n,th.n{text-align:right}td.m{text-align:right;padding:3px 8px}
td{overflow-wrap:anywhere}code,pre{font-size:13px}img{max-width:100%;height:auto;display:block}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0 0}
.tile{background:#fff;border:1px solid #e1e4e8;border-radius:10px;padding:12px 18px;min-width:130px}
.tile b{display:block;font-size:24px;font-variant-numeric:tabular-nums}.tile span,.faint{color:#6a737d}
.audit{color:#b0481a;font-weight:600}tr.oracle td{color:#8b949e;font-style:italic}
details summary{cursor:pointer;font-weight:600}details[open] summary{margin-bottom:10px}
"""
AUDIT_TAG = '<span class="audit">audit</span>'


def page(record: Record, curves: bytes, confusion: bytes, calibration: bytes | None = None) -> str:
  """Returns the page.

  Args:
    record: the run.
    curves: PNG of the curves, which the page embeds.
    confusion: PNG of the confusion matrix.
    calibration: PNG of the calibration; None = the section is left out.
  """
  result = record.result
  data, noise = result['data'], result.get('noise') or {}
  tag = ' ' + AUDIT_TAG if record.scored.part == 'test' else ''
  title = f'{result.get("strategy")} · {result.get("model")} · {data.get("source")}'
  sections = [
    section('Test accuracy ' + AUDIT_TAG, _result_table(result)),
    section('Validation', _validation_table(result)),
    section('What the method was told', _told_list(result)),
    section('Curves', html.image(curves, 'Curves over epochs')),
    section('Confusion matrix' + tag, html.image(confusion, 'Confusion matrix') + _confusions(record)),
    section('Per class' + tag, _class_table(record)),
    section('Calibration' + tag, html.image(calibration, 'Calibration') + SURE) if calibration else '',
    _noise_section(record),
    _detection_section(nested(result, 'audit.detection')),
    section('Budget', pairs({k: result.get(k) for k in BUDGET})),
    section('Data', pairs(flat({'data': data, 'noise': noise}))),
    section('Config', pairs(formatting.exact(record.config)), folded=True),
    section('Environment', pairs(formatting.exact(record.environment)), folded=True),
  ]
  body = (
    f'<h1>{escape(title)}</h1>'
    f'<p class="faint">seed {escape(formatting.text(result.get("seed")))} · '
    f'{escape(formatting.text(data.get("rows")))} · '
    f'{len(record.classes)} classes · noise: {escape(formatting.text(noise.get("kind")))}</p>\n'
    f'{_tiles(result)}\n{"".join(sections)}'
  )
  return html.page(title, body, CSS)


BUDGET = (
  'networks',
  'epochs',
  'steps',
  'images_seen',
  'passes',
  'seconds',
  'parameters',
  'peak_memory_mb',
  'device',
)


def _tiles(result: Mapping[str, Any]) -> str:
  """Returns the most important numbers at the top of the page."""
  selected = str(result.get('selected'))
  chosen = {'best': 'best by validation', 'last': 'last epoch'}.get(selected, selected)
  tested = nested(result, 'audit.selected') is not None
  tiles = [
    (formatting.percent(nested(result, 'audit.selected')), f'test accuracy, {chosen} (audit)'),
    (
      formatting.percent(nested(result, f'validation.{result.get("selected")}')),
      'validation accuracy, ' + ('same' if tested else formatting.text(result.get('selected'))) + ' epoch',
    ),
    (formatting.text(result.get('epochs')), 'epochs'),
    (formatting.text(formatting.rounded(result.get('seconds'))), 'seconds'),
    (formatting.percent(nested(result, 'audit.noise.realised')), 'labels wrong (realised noise)'),
  ]
  cells = (f'<div class="tile"><b>{escape(v)}</b><span>{escape(name)}</span></div>' for v, name in tiles if v != '-')
  return f'<div class="tiles">{"".join(cells)}</div>'


def _result_table(result: Mapping[str, Any]) -> str:
  """Returns the test accuracies for each rule that selects an epoch."""
  audit = result.get('audit') or {}
  if audit.get('last') is None:
    return '<p>There are no test rows with a label: see the validation accuracy below.</p>'
  labels = nested(result, 'validation.labels')
  chosen, few = audit.get('best_epoch'), audit.get('epochs_chosen_from', 10)
  rows = (
    ('last epoch', 'last', result.get('epochs'), ''),
    (
      'mean of last 10 epochs',
      'mean_last_10',
      None,
      f'of {few}: the last phase has no more epochs' if few < 10 else '',
    ),
    (
      'best by validation',
      'best_by_validation',
      chosen,
      f'validated on {labels} labels' if labels else 'no validation',
    ),
    ('oracle: best by test', 'oracle', audit.get('oracle_epoch'), 'selected by the test labels: not a result'),
  )
  body = ''.join(
    f'<tr{" class=oracle" if field == "oracle" else ""}><td>{escape(name)}</td>'
    f'<td class="n">{formatting.percent(audit.get(field))}</td><td class="n">{escape(formatting.text(epoch))}</td>'
    f'<td>{escape(note)}</td></tr>'
    for name, field, epoch, note in rows
  )
  return (
    f'<p>{escape(formatting.text(audit.get("test_rows")))} test rows, scored against their '
    f'{escape(formatting.text(audit.get("test_labels")))} labels. Test rows took no part in training or selection.</p>'
    f'<table><tr><th>epoch chosen</th><th class="n">accuracy</th><th class="n">epoch</th><th></th></tr>{body}</table>'
  )


def _validation_table(result: Mapping[str, Any]) -> str:
  """Returns the validation accuracies with their confidence intervals."""
  validation = result.get('validation') or {}
  if not validation.get('rows'):
    return '<p>No validation rows: the last epoch is the result.</p>'
  shown = {
    'labels': validation.get('labels'),
    'rows': validation.get('rows'),
    'last epoch': _with_interval(validation, 'last'),
    'best epoch': _with_interval(validation, 'best') + ' (selected on the same rows: optimistic)',
    'number of the best epoch': result.get('best_epoch'),
  }
  return pairs(shown) + '<p class="faint">In brackets: 95 % confidence interval (Wilson) for this number of rows.</p>'


def _with_interval(validation: Mapping[str, Any], which: str) -> str:
  """Returns a validation accuracy with its confidence interval."""
  value = validation.get(which)
  if value is None or not np.isfinite(value):
    return '-'
  low, high = wilson(value * validation['rows'], validation['rows'])
  return f'{formatting.percent(value)} [{100 * low:.2f}, {100 * high:.2f}]'


def _told_list(result: Mapping[str, Any]) -> str:
  """Returns the list of what the method was told in addition to the given labels."""
  items = result.get('knowledge') or ['nothing beyond the given labels']
  return '<ul>' + ''.join(f'<li>{escape(formatting.text(item))}</li>' for item in items) + '</ul>'


LISTED = 10  # maximum number of confusions
SURE = (
  '<p class="faint">Above: accuracy by confidence, with 95 % intervals; on the dashed line, both are equal. Below: '
  'number of rows. After training on wrong labels, the confidence is often too low.</p>'
)


def _confusions(record: Record) -> str:
  """Returns the most frequent confusions of labels and predictions."""
  rows = record.scored
  counts = scoring.confusion(rows.labels, rows.predicted, len(record.classes))
  return largest(counts, record.classes, rows.kind, 'predicted')


def _class_table(record: Record) -> str:
  """Returns precision, recall and F1 of each class on the test rows or, if there are none, the validation rows."""
  rows = record.scored
  if not (rows.labels >= 0).any():
    return '<p>There are no test or validation rows with a label.</p>'
  report = nested(record.result, 'audit.report') if rows.part == 'test' else None
  report = report or scoring.report(rows.labels, rows.predicted, record.classes)[1]
  fields = ('precision', 'recall', 'f1-score')
  body = ''
  for name, row in report.items():
    if not isinstance(row, Mapping):  # the accuracy, which another section shows
      continue
    cells = ''.join(f'<td class="n">{formatting.percent(row.get(field))}</td>' for field in fields)
    count = escape(formatting.text(formatting.rounded(row.get('support'))))
    body += f'<tr><td>{escape(str(name))}</td>{cells}<td class="n">{count}</td></tr>'
  head = ''.join(f'<th class="n">{field}</th>' for field in (*fields, 'rows'))
  return f'<p>{escape(rows.title)}.</p><table><tr><th>class</th>{head}</tr>{body}</table>'


def _noise_section(record: Record) -> str:
  """Returns the counts of given by true labels on training and validation rows; by verified labels without a truth."""
  given, n = record.samples['given'], len(record.classes)
  known, kind, tag = record.samples['verified'], 'verified', ''
  if record.truth is not None:
    known = _lookup(record.truth['row'], record.truth['true'], record.samples['row'])
    kind, tag = 'true', ' ' + AUDIT_TAG
  counts = scoring.confusion(known, given, n)
  if not counts.sum():
    return ''
  wrong = 1 - np.trace(counts) / counts.sum()
  text = f'<p>{counts.sum():,} rows, {formatting.percent(wrong)} of the given labels are wrong.</p>'
  requested, realised = nested(record.result, 'noise.requested'), nested(record.result, 'audit.noise.realised')
  if requested is not None:
    text += (
      f'<p class="faint">Injected: {escape(formatting.text(nested(record.result, "noise.kind")))}, requested rate '
      f'{formatting.percent(requested)}, realised {formatting.percent(realised)}.</p>'
    )
  shown = _matrix(counts, record.classes, kind) if n <= MATRIX else largest(counts, record.classes, kind, 'given')
  return section(f'Noise: given against {kind} labels{tag}', text + shown)


MATRIX = 20  # maximum number of classes of a matrix as a table


def _matrix(counts: np.ndarray, classes: Sequence[str], kind: str) -> str:
  """Returns a matrix of counts [C, C] as a table; darker cells have a larger fraction of their row."""
  share = shares(counts)
  head = ''.join(f'<th class="n">{escape(name)}</th>' for name in classes)
  body = ''
  for i, name in enumerate(classes):
    cells = ''.join(
      f'<td class="m" style="background:rgba(42,111,187,{0.6 * share[i, j]:.2f})">{counts[i, j]:,}</td>'
      if counts[i, j]
      else '<td class="m"></td>'
      for j in range(len(classes))
    )
    body += f'<tr><th>{escape(name)}</th>{cells}</tr>'
  return f'<p>Rows: {kind} label. Columns: given label.</p><table><tr><th></th>{head}</tr>{body}</table>'


def largest(counts: np.ndarray, classes: Sequence[str], down: str, across: str) -> str:
  """Returns a table of the most frequent confusions, with class names.

  Args:
    counts: int [C, C].
    classes: class names.
    down: kind of the labels of the rows of `counts`.
    across: kind of the labels of its columns.
  """
  if not (found := confusions(counts, LISTED)):
    return ''
  body = ''.join(
    f'<tr><td>{escape(classes[i])}</td><td>{escape(classes[j])}</td><td class="n">{n:,}</td></tr>' for i, j, n in found
  )
  head = f'<tr><th>{down} label</th><th>{across}</th><th class="n">rows</th></tr>'
  return f'<p>Most frequent confusions</p><table>{head}{body}</table>'


def _detection_section(detection: Mapping[str, Any] | None) -> str:
  """Returns the scores of the detection of wrong given labels."""
  if not detection:
    return ''
  rows = flat({name.replace('_', ' '): scores for name, scores in detection.items()})
  return section('Finding wrong labels ' + AUDIT_TAG, pairs({k.replace('.', ': '): v for k, v in rows.items()}))


def _lookup(rows: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """Returns the value of each wanted row, -1 if it has none."""
  order = np.argsort(rows)
  place = order[np.searchsorted(rows, wanted, sorter=order).clip(max=len(rows) - 1)]
  return np.where(rows[place] == wanted, values[place], -1)


def section(title: str, body: str, folded: bool = False) -> str:
  """Returns a section of the page; a folded one shows only its title until it is opened."""
  if folded:
    return f'<section><details><summary>{title}</summary>{body}</details></section>\n'
  return f'<section><h2>{title}</h2>{body}</section>\n'


def pairs(values: Mapping[str, Any]) -> str:
  """Returns a table with a row for each name and value."""
  rows = (
    f'<tr><th>{escape(str(k))}</th><td>{escape(formatting.text(formatting.rounded(v)))}</td></tr>'
    for k, v in values.items()
  )
  return f'<table>{"".join(rows)}</table>'
