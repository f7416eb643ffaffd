"""The versions of a label table over the rounds of a loop: which came from which, and how well networks do on them."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from noisyjax.reports.pictures import style


class Point(NamedTuple):
  """A version.

  Attributes:
    round: number of the round that made it.
    parent: number of the round whose version it was made of; -1 = none.
    helped: whether it was better than that version.
    chosen: whether it is the best one.
    frozen: accuracy on frozen labels.
    interval: 95 % interval of `frozen`.
    labeled: number of labeled rows.
    test: rule that selects the epoch → accuracy on the test rows; {} if none was scored.
    test_interval: 95 % interval of the accuracy at the last epoch; None if none was scored.
  """

  round: int
  parent: int
  helped: bool
  chosen: bool
  frozen: float
  interval: tuple[float, float]
  labeled: int
  test: dict[str, float]
  test_interval: tuple[float, float] | None


MARKS = {'last': 'o', 'selected': 's', 'oracle': 'x'}  # marker of each rule that selects the epoch


def draw(points: Sequence[Point]) -> bytes:
  """Returns a PNG: above, accuracy of each version with intervals, and an edge from its parent; below, labeled rows."""
  with style.context():
    figure = Figure(figsize=(9, 6), layout='constrained')
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    at = {point.round: point for point in points}
    for point in points:
      if point.parent >= 0:
        old = at[point.parent]
        above.plot(
          [old.round, point.round],
          [old.frozen, point.frozen],
          color=style.VALIDATION,
          linestyle=style.SOLID if point.helped else ':',
          linewidth=1.2,
        )
      errors = [[max(0.0, point.frozen - point.interval[0])], [max(0.0, point.interval[1] - point.frozen)]]
      face = style.VALIDATION if point.chosen else 'white'
      look = {'fmt': 'o', 'color': style.VALIDATION, 'markerfacecolor': face, 'capsize': 3, 'markersize': 8}
      above.errorbar(point.round, point.frozen, errors, **look)
    shift = {'last': 0.1, 'selected': 0.17, 'oracle': 0.24}
    for name, mark in MARKS.items():
      known = [(p.round + shift[name], p.test[name], p) for p in points if name in p.test]
      if known:
        x, y, _ = zip(*known)
        color = style.FAINT if name == 'oracle' else style.AUDIT
        above.plot(x, y, linestyle='none', marker=mark, color=color, label=f'test: {name} (audit)')
      for place, _, p in known:
        if name == 'last' and p.test_interval:
          low, high = p.test_interval
          above.vlines(place, low, high, color=style.AUDIT, linewidth=1)
    above.plot([], [], 'o', color=style.VALIDATION, label='frozen labels, 95 % interval (full: the chosen version)')
    above.plot([], [], ':', color=style.VALIDATION, label='a version that did not help')
    above.yaxis.set_major_formatter(style.percent)
    above.set(title='Accuracy of the versions', ylabel='accuracy')
    above.legend(loc='lower right')
    below.bar([p.round for p in points], [p.labeled for p in points], width=0.5, color=style.TRAIN)
    below.set(xlabel='round', ylabel='labeled rows')
    below.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return style.png(figure)
