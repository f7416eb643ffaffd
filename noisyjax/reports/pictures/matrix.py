"""Matrices of counts: predictions by labels, or given by verified labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from noisyjax.estimate import pairs, scoring
from noisyjax.reports.pictures import style
from noisyjax.reports.record import Record

NAMED, COUNTED = 110, 20  # maximum numbers of classes for which all names, and counts in cells, are shown


def confusion(record: Record) -> bytes:
  """Returns a PNG of the confusion matrix on the test rows or, if there are none, the validation rows."""
  rows, n = record.scored, len(record.classes)
  counts = scoring.confusion(rows.labels, rows.predicted, n)
  return draw(counts, record.classes, rows.title, ylabel=f'{rows.kind} label', xlabel='predicted label')


def draw(counts: np.ndarray, classes: Sequence[str], title: str, ylabel: str, xlabel: str) -> bytes:
  """Returns a PNG of a matrix, in percent of each row, with counts in the cells if there are few classes.

  Args:
    counts: int [C, C].
    classes: class names.
    title: title of the picture.
    ylabel: name of the labels of the rows.
    xlabel: name of the labels of the columns.
  """
  n = len(classes)
  share = pairs.shares(counts)
  with style.context():
    size = min(max(4.4, 2.4 + 0.6 * n), 13)
    figure = Figure(figsize=(size + 0.8, size), layout='constrained')
    ax = figure.subplots()
    image = ax.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for i, j in np.ndindex(n, n) if n <= COUNTED else ():
      if counts[i, j]:
        percent = f'{100 * share[i, j]:.0f} %' if share[i, j] >= 0.005 else '<1 %'
        color = 'white' if share[i, j] > 0.55 else style.INK
        size = 9 if n <= 8 else 7.5 if n <= 14 else 6.5
        ax.text(j, i, f'{counts[i, j]:,}\n{percent}', ha='center', va='center', color=color, fontsize=size)
    every = -(-n // NAMED)
    names = [style.plain(style.short(name)) for name in classes][::every]
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
    ax.set(xlabel=xlabel, ylabel=style.plain(ylabel))
    right = np.trace(counts) / max(counts.sum(), 1)
    text = f'{title}\n{counts.sum():,} rows, {100 * right:.1f} % right'
    ax.set_title(text + ('; in a cell: rows, % of the label' if n <= COUNTED else '') + '\n', fontsize=10)
    bar = figure.colorbar(image, shrink=0.7, format=style.percent, label='share of the label')
    bar.outline.set_visible(False)
    return style.png(figure)
