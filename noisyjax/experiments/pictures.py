"""The pictures of runs: curves over epochs, a confusion matrix, and several groups of runs side by side.

What needs true or test labels is drawn dashed or in the audit colors, and called "audit" where it stands.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from noisyjax import evaluate
from noisyjax.errors import UserError
from noisyjax.experiments import words
from noisyjax.experiments.record import Record, history, nested

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


def curves(record: Record) -> bytes:
  """Returns a PNG: loss, accuracy, the labels trained on and the learning rate over epochs."""
  logs = {'metrics': record.metrics, 'audit': record.audit}
  shown = [
    (title, percent, lines)
    for title, percent, lines in PANELS
    if any(history(logs[source], field)[0] for source, field, _ in lines)
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
        epochs, values = history(logs[source], field)
        if not epochs:
          continue
        if field.startswith('val_') and (labels := nested(record.result, 'validation.labels')):
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
  for epoch, value in zip(*history(record.metrics, 'val_accuracy')):
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


def confusion(record: Record) -> bytes:
  """Returns a PNG: predictions against the test labels, or the validation labels where there are none."""
  counts, title, labels = _predictions(record)
  return _matrix_png(counts, record.classes, title, ylabel=labels, xlabel='predicted')


def _predictions(record: Record) -> tuple[np.ndarray, str, str]:
  """Counts [C, C] of labels against predictions, what they are counted on, and which labels these are."""
  n = len(record.classes)
  if record.truth is not None and (test := record.truth['split'] == 'test').any():
    labels = nested(record.result, 'audit.test_labels') or 'true'
    counts = evaluate.confusion(record.truth['true'][test], record.truth['predicted'][test], n)
    return counts, 'Test rows (audit)', f'{labels} label'
  validation = record.samples['split'] == 'val'
  kind = nested(record.result, 'validation.labels') or 'given'
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


def comparison(groups: Mapping[str, Sequence[Record]]) -> bytes:
  """Returns one picture of several groups of runs that differ by seed within a group.

  Left: test accuracy per epoch, the mean over seeds and a band of one standard deviation. Right: the last epoch as a
  bar, the epoch chosen by validation as a diamond, the oracle as a ring. All of it is audit.

  Raises:
    UserError: naming the group that has no run with a test accuracy.
  """
  for name, runs in groups.items():
    if not any(history(run.audit, 'test_accuracy')[0] for run in runs):
      raise UserError(f'{name}: no run of this group has a test accuracy to compare.')
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(11.5, max(3.8, 1.6 + 0.46 * len(groups))), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for rank, runs in enumerate(groups.values()):
      color, dashes = GROUPS[rank % len(GROUPS)], ('-', '--', ':')[rank // len(GROUPS) % 3]
      _draw_band(left, runs, color, dashes)
      _draw_bar(right, len(groups) - 1 - rank, [run.result for run in runs], color)
    left.set(title='Test accuracy per epoch (audit)', xlabel='epoch')
    _epoch_axis(left)
    left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set(title='Last epoch: mean ± std over seeds (audit)', ylim=(-0.6, len(groups) - 0.4), xlim=(0, 1.28))
    right.set_xticks(np.linspace(0, 1, 6))
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_yticks(range(len(groups)), [f'{_plain(n)}\nn = {len(r)}' for n, r in reversed(groups.items())])
    for rank, label in enumerate(reversed(right.get_yticklabels())):
      label.set(color=GROUPS[rank % len(GROUPS)], fontweight='bold')
    right.grid(axis='y', visible=False)
    right.tick_params(axis='y', length=0)
    right.spines['left'].set_visible(False)
    right.spines['bottom'].set_bounds(0, 1)
    marks = [Line2D([], [], **BEST), Line2D([], [], **ORACLE)]
    names = ['best by validation', 'best by test (oracle: not a result)']
    figure.legend(marks, names, loc='outside lower right', ncols=2)
    return _png(figure)


def _draw_band(ax: Axes, runs: Sequence[Record], color: str, dashes: str) -> None:
  at: dict[int, list[float]] = {}
  for run in runs:
    for epoch, value in zip(*history(run.audit, 'test_accuracy')):
      at.setdefault(epoch, []).append(value)
  epochs = sorted(at)
  mean = np.array([np.nanmean(at[e]) if np.isfinite(at[e]).any() else np.nan for e in epochs])
  std = np.array([np.nanstd(at[e], ddof=1) if np.isfinite(at[e]).sum() > 1 else 0 for e in epochs])
  ax.plot(epochs, mean, dashes, color=color, marker='o' if len(epochs) == 1 else None)
  ax.fill_between(epochs, mean - std, np.minimum(mean + std, 1), color=color, alpha=0.16, linewidth=0)


def _draw_bar(ax: Axes, y: int, results: Sequence[Mapping[str, Any]], color: str) -> None:
  rules = ('last', 'best_by_validation', 'oracle')
  last, best, oracle = (words.mean_std([nested(r, f'audit.{rule}') for r in results]) for rule in rules)
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
