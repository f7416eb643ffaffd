"""What a finished workdir shows: curves, confusion matrix, a self-contained page; and several workdirs side by side.

Everything is read back from the run's files. Whatever needs true or test labels comes from the audit files, is drawn
dashed or in the audit color and is called "audit" where it stands; a number chosen on the test labels says "oracle".
"""

import base64
import io
import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from noisyjax import evaluate, writer
from noisyjax.errors import UserError

TRAIN, VALIDATION, AUDIT, INK, FAINT = '#2a6fbb', '#12876f', '#d9622b', '#22272e', '#8b949e'
AUDITS = (AUDIT, '#9a3f8f', '#b8860b', '#c2255c')
GROUPS = ('#2a6fbb', '#d9622b', '#12876f', '#9a3f8f', '#b8860b', '#4b5563', '#c2255c', '#0891b2')
MARK = {'linestyle': 'none', 'markeredgecolor': INK, 'clip_on': False, 'zorder': 4}
BEST = {'marker': 'D', 'markersize': 5.5, 'markerfacecolor': 'white', **MARK}
ORACLE = {'marker': 'o', 'markersize': 10, 'markerfacecolor': 'none', **MARK}
STYLE = {
  'font.size': 10,
  'text.color': INK,
  'axes.labelcolor': INK,
  'axes.edgecolor': FAINT,
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'grid.color': '#e5e8ec',
  'axes.axisbelow': True,
  'xtick.color': '#57606a',
  'ytick.color': '#57606a',
  'legend.frameon': False,
  'legend.fontsize': 9,
  'lines.linewidth': 1.8,
}

# One panel each: title, percent?, and its lines (file, field, label).
PANELS = (
  (
    'Loss',
    False,
    (
      ('metrics', 'loss', 'training targets'),
      ('metrics', 'val_loss', 'validation'),
      ('audit', 'test_loss', 'test (audit)'),
    ),
  ),
  (
    'Accuracy',
    True,
    (
      ('metrics', 'accuracy', 'training targets'),
      ('metrics', 'val_accuracy', 'validation'),
      ('audit', 'test_accuracy', 'test (audit)'),
      ('audit', 'test_accuracy_one', 'test, first network alone (audit)'),
      ('audit', 'train_accuracy_true', 'training rows, true labels (audit)'),
    ),
  ),
  (
    'Labels trained on',
    True,
    (
      ('metrics', 'chosen', 'fraction chosen'),
      ('audit', 'target_accuracy', 'right targets (audit)'),
      ('audit', 'selection_precision', 'selection precision (audit)'),
      ('audit', 'selection_recall', 'selection recall (audit)'),
    ),
  ),
  ('Learning rate', False, (('metrics', 'lr', 'learning rate'),)),
)


@dataclass(frozen=True)
class Record:
  """The files of one finished run, read."""

  config: dict[str, Any]
  environment: dict[str, Any]
  result: dict[str, Any]
  metrics: list[dict[str, Any]]  # one per epoch
  audit: list[dict[str, Any]]  # one per audited epoch; empty where no truth is known
  samples: dict[str, np.ndarray]  # columns [N] of training and validation rows
  truth: dict[str, np.ndarray] | None  # columns [N] of the rows whose truth is known

  @property
  def classes(self) -> list[str]:
    return [str(name) for name in self.result['data']['classes']]


def read(workdir: str | os.PathLike) -> Record:
  """Reads a finished workdir.

  Raises:
    UserError: naming the missing or damaged file.
  """
  folder = Path(workdir)
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: not a finished run: it has no result.json.')
  audit, truth = folder / 'audit.jsonl', folder / 'audit.parquet'
  return Record(
    config=writer.read_json(folder / 'config.json'),
    environment=writer.read_json(folder / 'environment.json'),
    result=writer.read_json(folder / 'result.json'),
    metrics=writer.read_lines(folder / 'metrics.jsonl'),
    audit=writer.read_lines(audit) if audit.exists() else [],
    samples=writer.read_parquet(folder / 'samples.parquet')[0],
    truth=writer.read_parquet(truth)[0] if truth.exists() else None,
  )


def curves(workdir: str | os.PathLike) -> Path:
  """Writes curves.png: loss, accuracy, the labels trained on and the learning rate over epochs; returns its path."""
  path = Path(workdir) / 'curves.png'
  writer.write_bytes(path, _curves(read(workdir)))
  return path


def confusion_png(workdir: str | os.PathLike) -> Path:
  """Writes confusion.png: predictions against the true test labels, or the validation labels where there are none."""
  path = Path(workdir) / 'confusion.png'
  writer.write_bytes(path, _confusion(read(workdir)))
  return path


def write_report(workdir: str | os.PathLike) -> Path:
  """Writes curves.png, confusion.png and report.html (one file, no external resources); returns the page's path."""
  record, folder = read(workdir), Path(workdir)
  pictures = {'curves.png': _curves(record), 'confusion.png': _confusion(record)}
  for name, png in pictures.items():
    writer.write_bytes(folder / name, png)
  writer.write_text(folder / 'report.html', _page(record, *pictures.values()))
  return folder / 'report.html'


def table(results: Sequence[Mapping[str, Any]], by: Sequence[str]) -> str:
  """A Markdown table of results grouped over their seeds, in the order of first appearance.

  Args:
    results: the content of each run's result.json.
    by: fields that tell groups apart, dotted where nested: ('strategy', 'noise.requested').

  Returns:
    The table: mean ± sample standard deviation (n) of each test accuracy in percent, seconds, and what the method was
    told. Below it, one line for each other thing in which the runs compared differ, since no such comparison is fair.
  """
  groups: dict[tuple, list] = {}
  for result in results:
    groups.setdefault(tuple(_text(_field(result, key)) for key in by), []).append(result)
  head = (*by, 'last', 'mean of last 10', 'best by validation', 'best by test (oracle)', 'seconds', 'told')
  rows = []
  for key, members in groups.items():
    accuracies = [
      _spread([_field(r, f'audit.{rule}') for r in members], 100)
      for rule in ('last', 'mean_last_10', 'best_by_validation', 'oracle')
    ]
    if accuracies[-1] != '-':
      accuracies[-1] += ' (oracle)'
    rows.append((*key, *accuracies, _spread([r.get('seconds') for r in members], 1), _told(members)))
  notes = []
  for key, members in groups.items():
    if _field(members[0], 'audit.one_network'):
      alone = _spread([_field(r, 'audit.one_network.last') for r in members], 100)
      notes.append(f'{", ".join(key)}: the vote of {members[0]["networks"]} networks; the first alone, last: {alone}.')
  for field, name in (
    ('data.fingerprint', 'data'),
    ('noise.kind', 'noise'),
    ('noise.requested', 'requested noise rate'),
    ('audit.test_labels', 'labels of the test rows'),
    ('audit.test_rows', 'test rows'),
    ('validation.labels', 'labels of the validation rows'),
    ('model', 'model'),
    ('epochs', 'epochs'),
    ('passes', 'passes (budget)'),
    ('device', 'device'),
  ):
    each = [list(dict.fromkeys(_text(_rounded(_field(r, field)))[:24] for r in members)) for members in groups.values()]
    values = list(dict.fromkeys(value for group in each for value in group))
    by_seed = field == 'data.fingerprint' and all(set(group) == set(each[0]) for group in each)  # noise drawn per seed
    if len(values) > 1 and field not in by and not by_seed:
      shown = values if len(values) <= 4 else [*values[:3], f'… ({len(values)} values)']
      notes.append(f'Not equal: {name}: {", ".join(shown)}.')
  return '\n'.join([_markdown(head, rows), *([''] if notes else []), *notes]) + '\n'


def comparison_png(groups: Mapping[str, Sequence[str | os.PathLike]], path: str | os.PathLike) -> Path:
  """Writes one picture of several groups of runs, each a list of workdirs that differ by seed.

  Left: test accuracy per epoch, the mean over seeds and a band of one standard deviation. Right: the last epoch as a
  bar, the epoch chosen by validation as a diamond, the oracle as a ring. All of it is audit.

  Raises:
    UserError: naming the group that has no run with a test accuracy.
  """
  records = {name: [read(workdir) for workdir in workdirs] for name, workdirs in groups.items()}
  for name, runs in records.items():
    if not any(_line(run.audit, 'test_accuracy')[0] for run in runs):
      raise UserError(f'{name}: no run of this group has a test accuracy to compare.')
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(11.5, max(3.8, 1.6 + 0.46 * len(records))), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for rank, runs in enumerate(records.values()):
      color, dashes = GROUPS[rank % len(GROUPS)], ('-', '--', ':')[rank // len(GROUPS) % 3]
      _draw_band(left, runs, color, dashes)
      _draw_bar(right, len(records) - 1 - rank, [run.result for run in runs], color)
    left.set(title='Test accuracy per epoch (audit)', xlabel='epoch')
    _epoch_axis(left)
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set(title='Last epoch: mean ± std over seeds (audit)', ylim=(-0.6, len(records) - 0.4), xlim=(0, 1.28))
    right.set_xticks(np.linspace(0, 1, 6))
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_yticks(range(len(records)), [f'{_plain(n)}\nn = {len(r)}' for n, r in reversed(records.items())])
    for rank, label in enumerate(reversed(right.get_yticklabels())):
      label.set(color=GROUPS[rank % len(GROUPS)], fontweight='bold')
    right.grid(axis='y', visible=False)
    right.tick_params(axis='y', length=0)
    right.spines['left'].set_visible(False)
    right.spines['bottom'].set_bounds(0, 1)
    marks = [Line2D([], [], **BEST), Line2D([], [], **ORACLE)]
    words = ['best by validation', 'best by test (oracle: not a result)']
    figure.legend(marks, words, loc='outside lower right', ncols=2)
    writer.write_bytes(path, _png(figure))
  return Path(path)


# Pictures


def _curves(record: Record) -> bytes:
  logs = {'metrics': record.metrics, 'audit': record.audit}
  shown = [
    (title, percent, lines)
    for title, percent, lines in PANELS
    if any(_line(logs[source], field)[0] for source, field, _ in lines)
  ]
  with matplotlib.rc_context(STYLE):
    columns = 2 if len(shown) in (2, 4) else max(len(shown), 1)
    rows = -(-max(len(shown), 1) // columns)
    figure = Figure(figsize=(5.6 * columns if columns > 1 else 7, 3.6 * rows + 0.2), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    if not shown:
      axes[0].set_axis_off()
      axes[0].text(0.5, 0.5, 'No epochs: nothing to draw.', ha='center', color=FAINT)
    for ax, (title, percent, lines) in zip(axes, shown):
      colors = {'metrics': iter((TRAIN, VALIDATION)), 'audit': iter(AUDITS)}
      for source, field, label in lines:
        color = next(colors[source])
        epochs, values = _line(logs[source], field)
        if not epochs:
          continue
        if field.startswith('val_') and (labels := _field(record.result, 'validation.labels')):
          label = f'{label} ({labels} labels)'
        style = {'linestyle': (0, (4, 1.5)) if source == 'audit' else '-', 'marker': 'o' if len(epochs) == 1 else None}
        ax.plot(epochs, values, color=color, label=_plain(label), markersize=5, **style)
      if title == 'Accuracy':
        _mark_selected(ax, record)
      ax.set(title=title, xlabel='epoch')
      if title == 'Labels trained on':
        ax.set_ylim(0, 1.02)
      if percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
      _epoch_axis(ax)
      _draw_phases(ax, record.metrics)
      if len(lines) > 1:
        ax.legend(loc='best')
    return _png(figure)


def _mark_selected(ax: Axes, record: Record) -> None:
  best = record.result.get('best_epoch')
  if record.result.get('selected') != 'best' or best is None:
    return
  for epoch, value in zip(*_line(record.metrics, 'val_accuracy')):
    if epoch == best:
      ax.plot(epoch, value, 'o', color=VALIDATION, fillstyle='none', markersize=9, label='epoch selected')


def _draw_phases(ax: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
  """A thin line where a phase begins, and the strategy's name beside it; nothing for a run of one phase."""
  starts = [
    m for before, m in zip([None, *metrics], metrics) if before is None or m.get('phase') != before.get('phase')
  ]
  if len(starts) < 2:
    return
  for start in starts:
    if start is not starts[0]:
      ax.axvline(start['epoch'] - 0.5, color=FAINT, linewidth=0.8, zorder=0)
    if len(starts) <= 4:
      place = {'xytext': (3, 2), 'textcoords': 'offset points', 'xycoords': ax.get_xaxis_transform()}
      left = start['epoch'] - (0.5 if start is not starts[0] else 0)
      ax.annotate(_plain(start.get('strategy', '')), (left, 0), color='#57606a', fontsize=8, **place)


def _confusion(record: Record) -> bytes:
  counts, title, labels = _predictions(record)
  return _matrix_png(counts, record.classes, title, ylabel=labels, xlabel='predicted')


def _predictions(record: Record) -> tuple[np.ndarray, str, str]:
  """Counts [C, C] of labels against predictions, what they are counted on, and which labels these are."""
  n = len(record.classes)
  if record.truth is not None and (test := record.truth['split'] == 'test').any():
    labels = _field(record.result, 'audit.test_labels') or 'true'
    counts = evaluate.confusion(record.truth['true'][test], record.truth['predicted'][test], n)
    return counts, 'Test rows (audit)', f'{labels} label'
  validation = record.samples['split'] == 'val'
  kind = _field(record.result, 'validation.labels') or 'given'
  counts = evaluate.confusion(record.samples[kind][validation], record.samples['predicted'][validation], n)
  return counts, 'Validation rows', f'{kind} label'


def _matrix_png(counts: np.ndarray, classes: Sequence[str], title: str, ylabel: str, xlabel: str) -> bytes:
  """Rows of `counts [C, C]` in percent of the row; numbers in the cells and all names as long as they can be read."""
  n = len(classes)
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  with matplotlib.rc_context(STYLE):
    size = min(max(4.6, 2.2 + 0.56 * n), 11)
    figure = Figure(figsize=(size + 0.6, size), layout='constrained')
    ax = figure.subplots()
    image = ax.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for i, j in np.ndindex(n, n) if n <= 20 else ():
      if counts[i, j]:
        text = f'{100 * share[i, j]:.0f}' if share[i, j] >= 0.005 else '<1'
        color = 'white' if share[i, j] > 0.55 else INK
        ax.text(j, i, text, ha='center', va='center', color=color, fontsize=9 if n <= 12 else 7)
    every = max(1, -(-n // 40))
    names = [_plain(name if len(name) <= 18 else name[:17] + '…') for name in classes][::every]
    fontsize = 9 if n <= 20 else 7
    ax.set_xticks(
      range(0, n, every), names, rotation=45 if n > 2 else 0, ha='right' if n > 2 else 'center', fontsize=fontsize
    )
    ax.set_yticks(range(0, n, every), names, fontsize=fontsize)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
      spine.set_visible(False)
    ax.set(xlabel=xlabel, ylabel=_plain(ylabel))
    ax.set_title(f'{title}: {counts.sum():,}, rows in %')
    bar = figure.colorbar(image, shrink=0.7, format=PercentFormatter(1, decimals=0))
    bar.outline.set_visible(False)
    return _png(figure)


def _draw_band(ax: Axes, runs: Sequence[Record], color: str, dashes: str) -> None:
  at: dict[int, list[float]] = {}
  for run in runs:
    for epoch, value in zip(*_line(run.audit, 'test_accuracy')):
      at.setdefault(epoch, []).append(value)
  epochs = sorted(at)
  mean = np.array([np.nanmean(at[e]) if np.isfinite(at[e]).any() else np.nan for e in epochs])
  std = np.array([np.nanstd(at[e], ddof=1) if np.isfinite(at[e]).sum() > 1 else 0 for e in epochs])
  ax.plot(epochs, mean, dashes, color=color, marker='o' if len(epochs) == 1 else None)
  ax.fill_between(epochs, mean - std, np.minimum(mean + std, 1), color=color, alpha=0.16, linewidth=0)


def _draw_bar(ax: Axes, y: int, results: Sequence[Mapping[str, Any]], color: str) -> None:
  rules = ('last', 'best_by_validation', 'oracle')
  last, best, oracle = (_mean_std([_field(r, f'audit.{rule}') for r in results]) for rule in rules)
  if last is not None:
    ax.barh(y, last[0], height=0.52, color=color, xerr=last[1] or None, error_kw={'ecolor': INK, 'capsize': 3})
    text = f'{100 * last[0]:.1f}' + (f' ± {100 * last[1]:.1f}' if last[1] is not None else '')
    ax.text(1.26, y, text, ha='right', va='center')
  if best is not None:
    ax.plot(best[0], y, **BEST)
  if oracle is not None:
    ax.plot(oracle[0], y, **ORACLE)


def _epoch_axis(ax: Axes) -> None:
  ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _png(figure: Figure) -> bytes:
  figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
  buffer = io.BytesIO()
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Glyph .* missing')  # names in scripts the font lacks; the page has them in full
    FigureCanvasAgg(figure).print_png(buffer, metadata={'Software': None})
  return buffer.getvalue()


def _plain(text: str) -> str:
  return str(text).replace('$', r'\$')  # else matplotlib reads it as mathematics


# The page

CSS = """
body{font:15px/1.5 system-ui,sans-serif;color:#22272e;background:#f6f7f9;margin:0}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 2px}h2{font-size:17px;margin:0 0 10px}p{margin:6px 0}
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


def _page(record: Record, curves_png: bytes, confusion: bytes) -> str:
  result = record.result
  data, noise = result['data'], result.get('noise') or {}
  title = f'{result.get("strategy")} · {result.get("model")} · {data.get("source")}'
  sections = [
    _section('Test accuracy ' + AUDIT_TAG, _result_table(result)),
    _section('Validation', _validation_table(result)),
    _section('What the method was told', _told_list(result)),
    _section('Curves', _image(curves_png, 'Curves over epochs')),
    _section('Confusion matrix', _image(confusion, 'Confusion matrix')),
    _section('Per class ' + AUDIT_TAG, _class_table(_field(result, 'audit.report'))),
    _noise_section(record),
    _detection_section(_field(result, 'audit.detection')),
    _section('Budget', _pairs({k: result.get(k) for k in BUDGET})),
    _section('Data', _pairs(_flat({'data': data, 'noise': noise}))),
    _section('Config', _pairs(_exact(record.config)), folded=True),
    _section('Environment', _pairs(_exact(record.environment)), folded=True),
  ]
  return (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>{escape(title)}</title><style>{CSS}</style></head><body><main>\n'
    f'<h1>{escape(title)}</h1>'
    f'<p class="faint">seed {escape(_text(result.get("seed")))} · {escape(_text(data.get("rows")))} · '
    f'{len(record.classes)} classes · noise: {escape(_text(noise.get("kind")))}</p>\n'
    f'{_tiles(result)}\n{"".join(sections)}</main></body></html>\n'
  )


BUDGET = (
  'networks', 'epochs', 'steps', 'images_seen', 'passes', 'seconds', 'parameters', 'peak_memory_mb', 'device',
)  # fmt: skip


def _tiles(result: Mapping[str, Any]) -> str:
  chosen = {'best': 'best by validation', 'last': 'last epoch'}.get(result.get('selected'), result.get('selected'))
  tiles = [
    (_percent(_field(result, 'audit.selected')), f'test accuracy, {chosen} (audit)'),
    (_percent(_field(result, f'validation.{result.get("selected")}')), 'validation accuracy, same epoch'),
    (_text(result.get('epochs')), 'epochs'),
    (_text(_rounded(result.get('seconds'))), 'seconds'),
    (_percent(_field(result, 'audit.noise.realised')), 'labels wrong (realised noise)'),
  ]
  cells = (f'<div class="tile"><b>{escape(v)}</b><span>{escape(name)}</span></div>' for v, name in tiles if v != '-')
  return f'<div class="tiles">{"".join(cells)}</div>'


def _result_table(result: Mapping[str, Any]) -> str:
  audit = result.get('audit') or {}
  if audit.get('last') is None:
    return '<p>No true labels are known: there is nothing to audit.</p>'
  labels = _field(result, 'validation.labels')
  chosen = audit.get('best_epoch')
  rows = (
    ('last epoch', 'last', result.get('epochs'), ''),
    ('mean of last 10 epochs', 'mean_last_10', None, ''),
    (
      'best by validation',
      'best_by_validation',
      chosen,
      f'validated on {labels} labels' if labels else 'no validation',
    ),
    ('oracle: best by test', 'oracle', audit.get('oracle_epoch'), 'chosen on the test labels themselves: not a result'),
  )
  body = ''.join(
    f'<tr{" class=oracle" if field == "oracle" else ""}><td>{escape(name)}</td>'
    f'<td class="n">{_percent(audit.get(field))}</td><td class="n">{escape(_text(epoch))}</td>'
    f'<td>{escape(note)}</td></tr>'
    for name, field, epoch, note in rows
  )
  return (
    f'<p>{escape(_text(audit.get("test_rows")))} test rows, scored against their '
    f'{escape(_text(audit.get("test_labels")))} labels. None of this took part in training or selection.</p>'
    f'<table><tr><th>epoch chosen</th><th class="n">accuracy</th><th class="n">epoch</th><th></th></tr>{body}</table>'
  )


def _validation_table(result: Mapping[str, Any]) -> str:
  validation = result.get('validation') or {}
  if not validation.get('rows'):
    return '<p>No validation rows: the last epoch is the result.</p>'
  shown = {
    'labels': validation.get('labels'),
    'rows': validation.get('rows'),
    'last': _percent(validation.get('last')),
    'best': _percent(validation.get('best')),
    'best epoch': result.get('best_epoch'),
  }
  return _pairs(shown)


def _told_list(result: Mapping[str, Any]) -> str:
  items = result.get('knowledge') or ['nothing beyond the given labels']
  return '<ul>' + ''.join(f'<li>{escape(_text(item))}</li>' for item in items) + '</ul>'


def _class_table(report: Mapping[str, Any] | None) -> str:
  if not report:
    return '<p>No true labels are known: there is nothing to audit.</p>'
  fields = ('precision', 'recall', 'f1-score')
  body = ''
  for name, row in report.items():
    if not isinstance(row, Mapping):  # the accuracy, which stands above
      continue
    cells = ''.join(f'<td class="n">{_percent(row.get(field))}</td>' for field in fields)
    body += (
      f'<tr><td>{escape(str(name))}</td>{cells}<td class="n">{escape(_text(_rounded(row.get("support"))))}</td></tr>'
    )
  head = ''.join(f'<th class="n">{field}</th>' for field in (*fields, 'rows'))
  return f'<table><tr><th>class</th>{head}</tr>{body}</table>'


def _noise_section(record: Record) -> str:
  """Counts of true against given labels on the training and validation rows; verified where no truth is known."""
  given, n = record.samples['given'], len(record.classes)
  known, kind, tag = record.samples['verified'], 'verified', ''
  if record.truth is not None:
    known = _lookup(record.truth['row'], record.truth['true'], record.samples['row'])
    kind, tag = 'true', ' ' + AUDIT_TAG
  counts = evaluate.confusion(known, given, n)
  if not counts.sum():
    return ''
  wrong = 1 - np.trace(counts) / counts.sum()
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  head = ''.join(f'<th class="n">{escape(name)}</th>' for name in record.classes)
  body = ''
  for i, name in enumerate(record.classes):
    cells = ''.join(
      f'<td class="m" style="background:rgba(42,111,187,{0.6 * share[i, j]:.2f})">{counts[i, j]:,}</td>'
      if counts[i, j]
      else '<td class="m"></td>'
      for j in range(n)
    )
    body += f'<tr><th>{escape(name)}</th>{cells}</tr>'
  text = (
    f'<p>Down: {kind} label. Across: given label. {counts.sum():,} rows, {_percent(wrong)} of them given wrong.</p>'
  )
  requested, realised = _field(record.result, 'noise.requested'), _field(record.result, 'audit.noise.realised')
  if requested is not None:
    text += f'<p class="faint">Injected: {escape(_text(_field(record.result, "noise.kind")))}, requested rate '
    text += f'{_percent(requested)}, realised {_percent(realised)}.</p>'
  return _section(f'Noise: given against {kind} labels{tag}', f'{text}<table><tr><th></th>{head}</tr>{body}</table>')


def _detection_section(detection: Mapping[str, Any] | None) -> str:
  """How well the run tells wrong given labels from right ones."""
  if not detection:
    return ''
  rows = _flat({name.replace('_', ' '): scores for name, scores in detection.items()})
  return _section('Finding wrong labels ' + AUDIT_TAG, _pairs({k.replace('.', ': '): v for k, v in rows.items()}))


def _lookup(rows: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """The value of each wanted row, -1 where it has none."""
  found = dict(zip(rows.tolist(), values.tolist()))
  return np.array([found.get(row, -1) for row in wanted.tolist()], int)


def _section(title: str, body: str, folded: bool = False) -> str:
  if folded:
    return f'<section><details><summary>{title}</summary>{body}</details></section>\n'
  return f'<section><h2>{title}</h2>{body}</section>\n'


def _pairs(values: Mapping[str, Any]) -> str:
  rows = (f'<tr><th>{escape(str(k))}</th><td>{escape(_text(_rounded(v)))}</td></tr>' for k, v in values.items())
  return f'<table>{"".join(rows)}</table>'


def _image(png: bytes, text: str) -> str:
  return f'<img alt="{escape(text)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


# Values and words


def _line(log: Iterable[Mapping[str, Any]], field: str) -> tuple[list[int], list[float]]:
  """The epochs that have the field, and its values there (null becomes NaN, a gap in the line)."""
  points = [(r['epoch'], np.nan if r[field] is None else float(r[field])) for r in log if field in r]
  if all(np.isnan(value) for _, value in points):
    return [], []
  return [epoch for epoch, _ in points], [value for _, value in points]


def _field(result: Mapping[str, Any], dotted: str) -> Any:
  value: Any = result
  for part in dotted.split('.'):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    if isinstance(value, Mapping) and value:
      flat |= _flat(value, f'{prefix}{key}.')
    else:
      flat[f'{prefix}{key}'] = value
  return flat


def _exact(tree: Mapping[str, Any]) -> dict[str, str]:
  """Flat, each value as the file has it: nothing rounded."""
  return {key: json.dumps(value, ensure_ascii=False) for key, value in _flat(tree).items()}


def _mean_std(values: Iterable[float | None]) -> tuple[float, float | None, int] | None:
  """Mean, sample standard deviation (None for a single value) and count of the values that are known."""
  known = [float(v) for v in values if v is not None and np.isfinite(v)]
  if not known:
    return None
  return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None, len(known)


def _spread(values: Iterable[float | None], scale: float) -> str:
  found = _mean_std(values)
  if found is None:
    return '-'
  mean, std, n = found
  digits = 2 if scale == 100 else 1
  return f'{scale * mean:.{digits}f}' + (f' ± {scale * std:.{digits}f}' if std is not None else '') + f' ({n})'


def _told(results: Iterable[Mapping[str, Any]]) -> str:
  return '; '.join(dict.fromkeys(str(k) for r in results for k in r.get('knowledge') or ())) or 'nothing'


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  cells = [[cell.replace('|', r'\|').replace('\n', ' ') for cell in row] for row in (head, *rows)]
  widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
  lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in cells]
  return '\n'.join([lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]])


def _percent(value: float | None) -> str:
  return '-' if value is None or not np.isfinite(value) else f'{100 * value:.2f} %'


def _rounded(value: Any) -> Any:
  """A float as people write it: whole from 1,000 up, else four digits."""
  if isinstance(value, float):
    return round(value) if abs(value) >= 1000 or value.is_integer() else float(f'{value:.4g}')
  return value


def _text(value: Any) -> str:
  if value is None or value == '':
    return '-'
  if isinstance(value, int) and not isinstance(value, bool):
    return f'{value:,}' if abs(value) >= 10000 else str(value)
  if isinstance(value, Mapping):
    return ', '.join(f'{_text(v)} {k}' for k, v in value.items()) or '-'
  if isinstance(value, list | tuple):
    return ', '.join(_text(v) for v in value) or '-'
  return str(value)
