"""Curves of a run over epochs: loss, accuracy, labels used for training, and learning rate."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from noisyjax.reports.pictures import style
from noisyjax.reports.record import Record, history, nested

# For each panel: title, label of the y axis, whether it is in percent, and its lines (log, field, label).
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


def draw(record: Record) -> bytes:
  """Returns a PNG with panels for loss, accuracy, labels used for training, and learning rate over epochs."""
  logs = {'metrics': record.metrics, 'audit': record.audit}
  shown = [
    (title, axis, percent, lines)
    for title, axis, percent, lines in PANELS
    if any(history(logs[source], field)[0] for source, field, _ in lines)
  ]
  with style.context():
    columns = 2 if len(shown) in (2, 4) else max(len(shown), 1)
    rows = -(-max(len(shown), 1) // columns)
    figure = Figure(figsize=(5.8 * columns if columns > 1 else 7, 4.1 * rows + 0.2), layout='constrained')
    # One x axis: a panel without curves in a phase shows that phase, too, and the name of it has a place.
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    if not shown:
      axes[0].set_axis_off()
      axes[0].text(0.5, 0.5, 'There are no epochs.', ha='center', color=style.FAINT)
    for ax, (title, axis, percent, lines) in zip(axes, shown):
      styles = {
        'metrics': zip((style.TRAIN, style.VALIDATION), (style.SOLID, style.LONG)),
        'audit': zip(style.AUDITS, style.DOTS),
      }
      for source, field, label in lines:
        color, dashes = next(styles[source])
        epochs, values = history(logs[source], field)
        if not epochs:
          continue
        if field.startswith('val_') and (labels := nested(record.result, 'validation.labels')):
          label = f'{label} ({labels} labels)'
        marker = 'o' if len(epochs) == 1 else None
        ax.plot(epochs, values, color=color, linestyle=dashes, label=style.plain(label), marker=marker, markersize=5)
      if title == 'Accuracy':
        _mark_selected(ax, record)
      ax.set(title=title, xlabel='epoch', ylabel=axis)
      if title == 'Labels trained on':
        ax.set_ylim(0, 1.02)
      if percent:
        ax.yaxis.set_major_formatter(style.percent)
      style.epoch_axis(ax)
      ax.tick_params(labelbottom=True)
      _draw_phases(ax, record.metrics)
      if len(lines) > 1:  # below the panel, so that it hides no curve
        ax.legend(loc='upper left', bbox_to_anchor=(-0.02, -0.17), ncols=2, columnspacing=1.2)
    return style.png(figure)


def _mark_selected(ax: Axes, record: Record) -> None:
  """Marks the epoch that was selected by validation."""
  best = record.result.get('best_epoch')
  if record.result.get('selected') != 'best' or best is None:
    return
  for epoch, value in zip(*history(record.metrics, 'val_accuracy')):
    if epoch == best:
      ax.plot(epoch, value, 'o', color=style.VALIDATION, fillstyle='none', markersize=9, label='epoch selected')


def _draw_phases(ax: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
  """Draws a thin line at the start of each phase and the name of its strategy, if there are several phases."""
  starts = [
    m for before, m in zip([None, *metrics], metrics) if before is None or m.get('phase') != before.get('phase')
  ]
  if len(starts) < 2:
    return
  for start in starts[1:]:
    ax.axvline(start['epoch'] - 0.5, color=style.FAINT, linewidth=0.8, zorder=0)
  if len(starts) <= 4:
    ax.set_title(ax.get_title(loc='left'), pad=18)
    for start in starts:  # above the panel, so that it hides no curve
      place = {'xytext': (0, 3), 'textcoords': 'offset points', 'xycoords': ax.get_xaxis_transform()}
      left = start['epoch'] - (0.5 if start is not starts[0] else 0)
      ax.annotate(style.plain(start.get('strategy', '')), (left, 1), color='#57606a', fontsize=8, **place)
