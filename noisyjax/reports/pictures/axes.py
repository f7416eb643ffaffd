"""Accuracy as a function of each number that a sweep varied."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from noisyjax.reports import formatting
from noisyjax.reports.pictures import style
from noisyjax.reports.record import nested

SWEPT = ('#2a6fbb', '#12876f', '#9a3f8f', '#4b5563', '#0891b2', '#b8860b')  # colors of the lines
NAMED_LINES = 8  # maximum number of lines in the legend of a panel
AXES = (  # (accuracy of a result, name with the kind of the selected epoch, dashes)
  (lambda result: nested(result, f'validation.{result.get("selected")}'), 'validation, {} epoch', style.SOLID),
  (lambda result: nested(result, 'audit.selected'), 'test, {} epoch (audit)', style.DOTS[0]),
)


def draw(groups: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]], fields: Sequence[str]) -> bytes:
  """Returns a PNG with a panel for each swept number: accuracy, mean ± sample standard deviation over seeds.

  There is a line for each combination of the other fields: solid for the validation rows, by which a value may be
  selected, and dotted for the test rows (audit).

  Args:
    groups: swept fields (name → value) and results of each group.
    fields: names of the swept fields that are numbers.
  """
  with style.context():
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
        look = {'color': SWEPT[rank % len(SWEPT)], 'marker': 'os^Dv'[rank // len(SWEPT) % 5], 'markersize': 5}
        drawn = [_draw_axis(ax, points, score, dashes, look) for score, _, dashes in AXES]
        if rest and any(drawn):
          marks.append((Line2D([], [], **look), textwrap.fill(style.plain(style.short(rest, 46)), 26)))
      if len(marks) > NAMED_LINES:
        more = f'and {len(marks) - NAMED_LINES} more: see the table'
        marks = [*marks[:NAMED_LINES], (Line2D([], [], alpha=0), more)]
      for score, name, dashes in AXES:
        epochs = {r.get('selected') for _, results in groups for r in results if score(r) is not None}
        if epochs:
          epoch = epochs.pop() if len(epochs) == 1 else 'chosen'
          marks.append((Line2D([], [], color=style.INK, linestyle=dashes), name.format(epoch)))
      ticks = sorted({values[field] for values, _ in groups})
      if min(ticks) > 0 and max(ticks) / min(ticks) >= 10:
        ax.set_xscale('log')
        ax.xaxis.set_minor_formatter(NullFormatter())
      if len(ticks) <= 8:
        ax.set_xticks(ticks, [f'{t:g}' for t in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
      ax.set(title=style.plain(field), xlabel=style.plain(field), ylabel='accuracy, mean ± std over seeds')
      ax.yaxis.set_major_formatter(style.percent)
      if marks:
        ax.legend(*zip(*marks), loc='upper left', bbox_to_anchor=(1.01, 1.02))
    return style.png(figure)


def _draw_axis(ax: Axes, points: Sequence, score: Callable, dashes: Any, look: Mapping[str, Any]) -> bool:
  """Draws a line, and returns whether there was anything to draw."""
  known = [(x, formatting.mean_std([score(r) for r in results])) for x, results in sorted(points, key=lambda p: p[0])]
  known = [(x, *found) for x, found in known if found is not None]
  if known:
    x, mean, std = zip(*known)
    face = look['color'] if dashes == style.SOLID else 'white'
    ax.errorbar(x, mean, [s or 0 for s in std], linestyle=dashes, markerfacecolor=face, capsize=3, elinewidth=1, **look)
  return bool(known)
