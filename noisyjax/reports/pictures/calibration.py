"""Accuracy as a function of confidence."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from noisyjax.estimate import scoring
from noisyjax.estimate.interval import wilson
from noisyjax.reports.pictures import style
from noisyjax.reports.record import Record

BINS = 15  # as for the calibration error


def draw(record: Record) -> bytes | None:
  """Returns a PNG of the calibration of a run; None if no row has a label and a confidence.

  The upper panel shows the accuracy of each bin of confidence with its 95 % interval (Wilson), the lower panel the
  number of rows of each bin.
  """
  rows = record.scored
  known = rows.labels >= 0
  if rows.confidence is None or not known.any():
    return None
  right = (rows.predicted == rows.labels)[known]
  found = scoring.reliability(rows.confidence[known], right, BINS)
  some = np.flatnonzero(found.rows)
  color = style.AUDIT if rows.part == 'test' else style.VALIDATION
  with style.context():
    figure = Figure(figsize=(6, 5.6), layout='constrained')
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
    top.plot([0, 1], [0, 1], color=style.FAINT, linewidth=1, linestyle=(0, (4, 2)), label='perfect calibration')
    accuracy, count = found.accuracy[some], found.rows[some]
    whiskers = np.abs(np.array(wilson(accuracy * count, count)) - accuracy)  # [2, bins]
    top.errorbar(
      found.confidence[some],
      found.accuracy[some],
      whiskers,
      color=color,
      ecolor=style.FAINT,
      marker='o',
      markersize=5,
      linewidth=1.4,
      elinewidth=1.2,
      capsize=2.5,
    )
    top.set_title(f'{rows.title}\ncalibration error ({BINS} bins) {100 * found.error():.1f} %\n', fontsize=10)
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
        fontsize=7,
      )
    below.set(xlabel='confidence (largest probability)', ylabel='rows', ylim=(0, 1.22 * found.rows.max()))
    below.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    for axis in (top.yaxis, below.xaxis):
      axis.set_major_formatter(style.percent)
    return style.png(figure)
