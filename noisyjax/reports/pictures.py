"""The pictures of runs: curves over epochs, a confusion matrix, and several groups of runs side by side.

What needs true or test labels is drawn dotted in the audit colors, and called "audit" where it stands.
"""

import io
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator

from noisyjax.estimate import scoring
from noisyjax.reports import formatting
from noisyjax.reports.record import Record, history, nested
from noisyjax.system.errors import UserError

TRAIN, VALIDATION, AUDIT, INK, FAINT = '#2a6fbb', '#12876f', '#d9622b', '#22272e', '#8b949e'
AUDITS = (AUDIT, '#9a3f8f', '#b8860b', '#c2255c')
GROUPS = ('#2a6fbb', '#d9622b', '#12876f', '#9a3f8f', '#b8860b', '#4b5563', '#c2255c', '#0891b2')
MARK = {'linestyle': 'none', 'markeredgecolor': INK, 'clip_on': False, 'zorder': 4}
BEST: dict[str, Any] = {'marker': 'D', 'markersize': 5.5, 'markerfacecolor': 'white', **MARK}
ORACLE: dict[str, Any] = {'marker': 'o', 'markersize': 10, 'markerfacecolor': 'none', **MARK}
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

# A second curve must show where it lies on the first: no two of one panel have both color and dashes in common.
SOLID, LONG = '-', (0, (7, 2))
DOTS = ((0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (3, 1.5)), (0, (5, 1.2, 1.2, 1.2, 1.2, 1.2)))
BINS = 10  # of the calibration plot
SWEPT = ('#2a6fbb', '#12876f', '#9a3f8f', '#4b5563', '#0891b2', '#b8860b')  # lines of a swept field

# One panel each: title, label of the y axis, percent?, and its lines (file, field, label).
PANELS = (
  (
    'Loss',
    'loss',
    False,
    (
      ('metrics', 'loss', 'training targets'),
      ('metrics', 'val_loss', 'validation'),
      ('audit', 'test_loss', 'test (audit)'),
    ),
  ),
  (
    'Accuracy',
    'accuracy',
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
    'share of rows',
    True,
    (
      ('metrics', 'chosen', 'fraction chosen'),
      ('audit', 'target_accuracy', 'right targets (audit)'),
      ('audit', 'selection_precision', 'selection precision (audit)'),
      ('audit', 'selection_recall', 'selection recall (audit)'),
    ),
  ),
  ('Learning rate', 'learning rate', False, (('metrics', 'lr', 'learning rate'),)),
)


def curves(record: Record) -> bytes:
  """Returns a PNG: loss, accuracy, the labels trained on and the learning rate over epochs."""
  logs = {'metrics': record.metrics, 'audit': record.audit}
  shown = [
    (title, axis, percent, lines)
    for title, axis, percent, lines in PANELS
    if any(history(logs[source], field)[0] for source, field, _ in lines)
  ]
  with matplotlib.rc_context(STYLE):
    columns = 2 if len(shown) in (2, 4) else max(len(shown), 1)
    rows = -(-max(len(shown), 1) // columns)
    figure = Figure(figsize=(5.8 * columns if columns > 1 else 7, 4.1 * rows + 0.2), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    if not shown:
      axes[0].set_axis_off()
      axes[0].text(0.5, 0.5, 'No epochs: nothing to draw.', ha='center', color=FAINT)
    for ax, (title, axis, percent, lines) in zip(axes, shown):
      styles = {'metrics': zip((TRAIN, VALIDATION), (SOLID, LONG)), 'audit': zip(AUDITS, DOTS)}
      for source, field, label in lines:
        color, dashes = next(styles[source])
        epochs, values = history(logs[source], field)
        if not epochs:
          continue
        if field.startswith('val_') and (labels := nested(record.result, 'validation.labels')):
          label = f'{label} ({labels} labels)'
        marker = 'o' if len(epochs) == 1 else None
        ax.plot(epochs, values, color=color, linestyle=dashes, label=_plain(label), marker=marker, markersize=5)
      if title == 'Accuracy':
        _mark_selected(ax, record)
      ax.set(title=title, xlabel='epoch', ylabel=axis)
      if title == 'Labels trained on':
        ax.set_ylim(0, 1.02)
      if percent:
        ax.yaxis.set_major_formatter(_percent)
      _epoch_axis(ax)
      _draw_phases(ax, record.metrics)
      if len(lines) > 1:  # below the panel, where no curve is
        ax.legend(loc='upper left', bbox_to_anchor=(-0.02, -0.17), ncols=2, columnspacing=1.2)
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
  for start in starts[1:]:
    ax.axvline(start['epoch'] - 0.5, color=FAINT, linewidth=0.8, zorder=0)
  if len(starts) <= 4:
    ax.set_title(ax.get_title(loc='left'), pad=18)
    for start in starts:  # above the panel, where no curve is
      place = {'xytext': (0, 3), 'textcoords': 'offset points', 'xycoords': ax.get_xaxis_transform()}
      left = start['epoch'] - (0.5 if start is not starts[0] else 0)
      ax.annotate(_plain(start.get('strategy', '')), (left, 1), color='#57606a', fontsize=8, **place)


def confusion(record: Record) -> bytes:
  """Returns a PNG: predictions against the test labels, or the validation labels where there are none."""
  rows, n = record.scored, len(record.classes)
  counts = scoring.confusion(rows.labels, rows.predicted, n)
  return _matrix_png(counts, record.classes, rows.title, ylabel=f'{rows.kind} label', xlabel='predicted label')


NAMED, COUNTED = 110, 20  # classes: names and numbers fit, up to so many


def _matrix_png(counts: np.ndarray, classes: Sequence[str], title: str, ylabel: str, xlabel: str) -> bytes:
  """Rows of `counts [C, C]` in percent of the row, with counts in the cells where they can be read."""
  n = len(classes)
  share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  with matplotlib.rc_context(STYLE):
    size = min(max(4.4, 2.4 + 0.6 * n), 13)
    figure = Figure(figsize=(size + 0.8, size), layout='constrained')
    ax = figure.subplots()
    image = ax.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for i, j in np.ndindex(n, n) if n <= COUNTED else ():
      if counts[i, j]:
        percent = f'{100 * share[i, j]:.0f} %' if share[i, j] >= 0.005 else '<1 %'
        color = 'white' if share[i, j] > 0.55 else INK
        size = 9 if n <= 8 else 7.5 if n <= 14 else 6.5
        ax.text(j, i, f'{counts[i, j]:,}\n{percent}', ha='center', va='center', color=color, fontsize=size)
    every = -(-n // NAMED)
    names = [_plain(_short(name)) for name in classes][::every]
    fontsize = 9 if n <= 14 else 8 if n <= 40 else 6
    long = n > 2 and max(map(len, names)) > 3
    ax.set_xticks(range(0, n, every), names, rotation=90 if n > COUNTED else 45 if long else 0, fontsize=fontsize)
    if long and n <= COUNTED:
      for label in ax.get_xticklabels():
        label.set(ha='right', rotation_mode='anchor')
    ax.set_yticks(range(0, n, every), names, fontsize=fontsize)
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
      spine.set_visible(False)
    ax.set(xlabel=xlabel, ylabel=_plain(ylabel))
    right = np.trace(counts) / max(counts.sum(), 1)
    text = f'{title}\n{counts.sum():,} rows, {100 * right:.1f} % right'
    ax.set_title(text + ('; in a cell: rows, % of the label' if n <= COUNTED else '') + '\n', fontsize=10)
    bar = figure.colorbar(image, shrink=0.7, format=_percent, label='share of the label')
    bar.outline.set_visible(False)
    return _png(figure)


def _short(name: str, width: int = 18) -> str:
  """Returns a name cut in its middle: those of many classes begin alike."""
  return name if len(name) <= width else f'{name[: width // 2]}…{name[width // 2 + 1 - width :]}'


def calibration(record: Record) -> bytes | None:
  """Returns a PNG: how often the run is right, by how sure it is; None where no row has a label and a confidence.

  Above, accuracy against confidence with Wilson's 95 % interval of each bin; below, the rows of each bin.
  """
  rows = record.scored
  known = rows.labels >= 0
  if rows.confidence is None or not known.any():
    return None
  right = (rows.predicted == rows.labels)[known]
  found = scoring.reliability(rows.confidence[known], right, BINS)
  some = np.flatnonzero(found.rows)
  color = AUDIT if rows.part == 'test' else VALIDATION
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(6, 5.6), layout='constrained')
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    top.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 2)), label='as sure as right')
    interval = np.array([formatting.wilson(found.accuracy[i], found.rows[i]) for i in some]).T  # [2, bins]
    whiskers = np.abs(interval - found.accuracy[some])
    top.errorbar(
      found.confidence[some],
      found.accuracy[some],
      whiskers,
      color=color,
      ecolor=FAINT,
      marker='o',
      markersize=5,
      linewidth=1.4,
      elinewidth=1.2,
      capsize=2.5,
    )
    error = scoring.reliability(rows.confidence[known], right).error()
    top.set_title(f'{rows.title}\ncalibration error (15 bins) {100 * error:.1f} %\n', fontsize=10)
    top.set(ylabel='accuracy', xlim=(0, 1), ylim=(-0.03, 1.03))
    top.legend(loc='best')
    below.bar((np.arange(BINS) + 0.5) / BINS, found.rows, width=0.92 / BINS, color=color, alpha=0.75)
    for i in some:
      below.annotate(
        f'{found.rows[i]:,}',
        ((i + 0.5) / BINS, found.rows[i]),
        xytext=(0, 2),
        ha='center',
        textcoords='offset points',
        fontsize=8,
      )
    below.set(xlabel='confidence (largest probability)', ylabel='rows', ylim=(0, 1.22 * found.rows.max()))
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axis in (top.yaxis, below.xaxis):
      axis.set_major_formatter(_percent)
    return _png(figure)


def axes(groups: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], fields: Sequence[str]) -> bytes:
  """Returns a PNG: accuracy against each swept number, mean ± sample standard deviation over seeds.

  One line for each setting of the other fields: solid on the validation rows, by which a value may be chosen; dotted on
  the test rows (audit).

  Args:
    groups: what was swept (name → value) and the results of each group. fields: the numbers among the names.
  """
  with matplotlib.rc_context(STYLE):
    figure = Figure(figsize=(8.6, 4.2 * len(fields)), layout='constrained')
    for ax, field in zip(figure.subplots(len(fields), 1, squeeze=False).ravel(), fields):
      lines: dict[str, list] = {}
      for values, results in groups:
        rest = ', '.join(
          formatting.text(v) if k == 'strategy' else f'{k} = {formatting.text(v)}'
          for k, v in values.items()
          if k != field
        )
        lines.setdefault(rest, []).append((values[field], results))
      marks = []
      for rank, (rest, points) in enumerate(lines.items()):
        style = {'color': SWEPT[rank % len(SWEPT)], 'marker': 'os^Dv'[rank // len(SWEPT) % 5], 'markersize': 5}
        drawn = [_draw_axis(ax, points, score, dashes, style) for score, _, dashes in AXES]
        if rest and any(drawn):
          marks.append((Line2D([], [], **style), textwrap.fill(_plain(_short(rest, 46)), 26)))
      if len(marks) > NAMED_LINES:
        more = f'and {len(marks) - NAMED_LINES} more: see the table'
        marks = [*marks[:NAMED_LINES], (Line2D([], [], alpha=0), more)]
      for score, name, dashes in AXES:
        epochs = {r.get('selected') for _, results in groups for r in results if score(r) is not None}
        if epochs:
          epoch = epochs.pop() if len(epochs) == 1 else 'chosen'
          marks.append((Line2D([], [], color=INK, linestyle=dashes), name.format(epoch)))
      ticks = sorted({values[field] for values, _ in groups})
      if min(ticks) > 0 and max(ticks) / min(ticks) >= 10:
        ax.set_xscale('log')
        ax.xaxis.set_minor_formatter(NullFormatter())
      if len(ticks) <= 8:
        ax.set_xticks(ticks, [f'{t:g}' for t in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
      ax.set(title=_plain(field), xlabel=_plain(field), ylabel='accuracy, mean ± std over seeds')
      ax.yaxis.set_major_formatter(_percent)
      if marks:
        ax.legend(*zip(*marks), loc='upper left', bbox_to_anchor=(1.01, 1.02))
    return _png(figure)


NAMED_LINES = 8  # of a panel
AXES = (  # of the epoch that stands for the run
  (lambda result: nested(result, f'validation.{result.get("selected")}'), 'validation, {} epoch', SOLID),
  (lambda result: nested(result, 'audit.selected'), 'test, {} epoch (audit)', DOTS[0]),
)


def _draw_axis(ax: Axes, points: Sequence, score: Callable, dashes: Any, style: Mapping[str, Any]) -> bool:
  """Draws one line, and returns whether there was anything to draw."""
  known = [(x, formatting.mean_std([score(r) for r in results])) for x, results in sorted(points, key=lambda p: p[0])]
  known = [(x, *found) for x, found in known if found is not None]
  if known:
    x, mean, std = zip(*known)
    face = style['color'] if dashes == SOLID else 'white'
    ax.errorbar(
      x, mean, [s or 0 for s in std], linestyle=dashes, markerfacecolor=face, capsize=3, elinewidth=1, **style
    )
  return bool(known)


def comparison(groups: Mapping[str, Sequence[Record]]) -> bytes:
  """Returns one picture of several groups of runs that differ by seed within a group.

  Left: accuracy per epoch, the mean over seeds and a band of one standard deviation. Right: the last epoch as a bar,
  the epoch chosen by validation as a diamond, the oracle as a ring. On the test rows, all of it audit; where a group
  has none, on the validation rows, and there is no oracle.

  Raises:
    UserError: naming the group that has no run with either.
  """
  scores = next((s for s in (ON_TEST, ON_VALIDATION) if all(_has(runs, s) for runs in groups.values())), None)
  if scores is None:
    lacking = next(name for name, runs in groups.items() if not _has(runs, ON_VALIDATION))
    raise UserError(f'{lacking}: no run of this group has a test or validation accuracy that all groups have.')
  with matplotlib.rc_context(STYLE):
    tall = 0.62 if max(map(len, groups)) > 28 else 0.46
    figure = Figure(figsize=(11.5, max(3.8, 1.6 + tall * len(groups))), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for rank, runs in enumerate(groups.values()):
      color, dashes = GROUPS[rank % len(GROUPS)], ('-', '--', ':')[rank // len(GROUPS) % 3]
      _draw_band(left, runs, scores, color, dashes)
      _draw_bar(right, len(groups) - 1 - rank, [run.result for run in runs], scores, color)
    left.set(title=f'{scores.name} per epoch', xlabel='epoch', ylabel=scores.name)
    _epoch_axis(left)
    left.yaxis.set_major_formatter(_percent)
    right.set(title='Last epoch: mean ± std over seeds', ylim=(-0.6, len(groups) - 0.4), xlim=(0, 1.28))
    right.set_xlabel(scores.name, loc='left')
    right.set_xticks(np.linspace(0, 1, 6))
    right.xaxis.set_major_formatter(_percent)
    wrapped = lambda name: textwrap.fill(_plain(_short(name, 56)), 28)
    names = [f'{wrapped(name)}\nn = {len(runs)}' for name, runs in reversed(list(groups.items()))]
    right.set_yticks(range(len(groups)), names)
    for rank, label in enumerate(reversed(right.get_yticklabels())):
      label.set(color=GROUPS[rank % len(GROUPS)], fontweight='bold')
    right.grid(axis='y', visible=False)
    right.tick_params(axis='y', length=0)
    right.spines['left'].set_visible(False)
    right.spines['bottom'].set_bounds(0, 1)
    marks = [(Line2D([], [], **BEST), scores.best_name)]
    marks += [(Line2D([], [], **ORACLE), 'best by test (oracle: not a result)')] if scores.oracle else []
    figure.legend(*zip(*marks), loc='outside lower right', ncols=2)
    return _png(figure)


class Scores(NamedTuple):
  """Which numbers of a run a comparison is of: a log and its field, and fields of the result."""

  name: str
  log: str
  field: str
  last: str
  best: str
  best_name: str
  oracle: str


ON_TEST = Scores(
  'Test accuracy (audit)',
  'audit',
  'test_accuracy',
  'audit.last',
  'audit.best_by_validation',
  'best by validation',
  'audit.oracle',
)
ON_VALIDATION = Scores(
  'Validation accuracy',
  'metrics',
  'val_accuracy',
  'validation.last',
  'validation.best',
  'best epoch by these same rows (optimistic)',
  '',
)


def _has(runs: Sequence[Record], scores: Scores) -> bool:
  return any(history(getattr(run, scores.log), scores.field)[0] for run in runs)


def _draw_band(ax: Axes, runs: Sequence[Record], scores: Scores, color: str, dashes: str) -> None:
  at: dict[int, list[float]] = {}
  for run in runs:
    for epoch, value in zip(*history(getattr(run, scores.log), scores.field)):
      at.setdefault(epoch, []).append(value)
  epochs = sorted(at)
  mean = np.array([np.nanmean(at[e]) if np.isfinite(at[e]).any() else np.nan for e in epochs])
  std = np.array([np.nanstd(at[e], ddof=1) if np.isfinite(at[e]).sum() > 1 else 0 for e in epochs])
  ax.plot(epochs, mean, dashes, color=color, marker='o' if len(epochs) == 1 else None)
  ax.fill_between(epochs, mean - std, np.minimum(mean + std, 1), color=color, alpha=0.16, linewidth=0)


def _draw_bar(ax: Axes, y: int, results: Sequence[Mapping[str, Any]], scores: Scores, color: str) -> None:
  rules = (scores.last, scores.best, scores.oracle)
  last, best, oracle = (formatting.mean_std([nested(r, rule) for r in results]) if rule else None for rule in rules)
  if last is not None:
    ax.barh(y, last[0], height=0.52, color=color, xerr=last[1] or None, error_kw={'ecolor': INK, 'capsize': 3})
    text = f'{100 * last[0]:.1f}' + (f' ± {100 * last[1]:.1f}' if last[1] is not None else '')
    ax.text(1.26, y, text, ha='right', va='center')
  if best is not None:
    ax.plot(best[0], y, **BEST)
  if oracle is not None:
    ax.plot(oracle[0], y, **ORACLE)


def _percent(value: float, _: int | None = None) -> str:
  """Returns the name of a tick, with as many digits as it has: ticks of a narrow range, 84 and 84.5 %, differ."""
  return f'{round(100 * value, 6):g}%'


def _epoch_axis(ax: Axes) -> None:
  low, high = ax.get_xlim()
  if high - low < 1:  # one epoch
    ax.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
  ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _png(figure: Figure) -> bytes:
  figure.set_layout_engine('constrained', w_pad=0.1, h_pad=0.1)
  buffer = io.BytesIO()
  with warnings.catch_warnings():
    warnings.filterwarnings('ignore', 'Glyph .* missing')  # names in scripts the font lacks; the page has them in full
    FigureCanvasAgg(figure).print_png(buffer, metadata={'Software': None})
  return buffer.getvalue()


def _plain(text: str) -> str:
  return str(text).replace('$', r'\$')  # else matplotlib reads it as mathematics
