"""Rows of a label table on a map, colored by class."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from noisyjax.reports.pictures import style

NAMED = 20  # most classes that the legend names


def draw(points: np.ndarray, labels: np.ndarray, marked: np.ndarray, classes: Sequence[str], mark: str) -> bytes:
  """Returns a PNG.

  Args:
    points: float [N, 2], places on the map.
    labels: int [N], classes; -1 = none, in gray.
    marked: bool [N], rows that are drawn as crosses.
    classes: names of the classes.
    mark: what the crosses are, for the legend.
  """
  colors = matplotlib.colormaps['tab10' if len(classes) <= 10 else 'tab20']
  with style.context():
    figure = Figure(figsize=(8, 5.5), layout='constrained')
    ax = figure.subplots()
    for k in range(-1, len(classes)):
      for chosen, marker, size in (((labels == k) & ~marked, 'o', 9), ((labels == k) & marked, 'x', 14)):
        color = style.FAINT if k < 0 else colors(k % colors.N)
        ax.scatter(*points[chosen].T, s=size, marker=marker, color=color, alpha=0.35 if k < 0 else 0.8, linewidths=0.9)
    names = ['no label', *map(style.short, classes)] if (labels < 0).any() else [*map(style.short, classes)]
    shown = [style.FAINT] * (len(names) > len(classes)) + [colors(k % colors.N) for k in range(len(classes))]
    for name, color in [*zip(names, shown)][:NAMED]:
      ax.scatter([], [], s=24, color=color, label=style.plain(name))
    ax.scatter([], [], s=24, marker='x', color=style.INK, label=style.plain(mark))
    ax.legend(loc='center left', bbox_to_anchor=(1, 0.5))
    ax.set(xticks=[], yticks=[])
    return style.png(figure)
