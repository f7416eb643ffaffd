"""Shared parts of the pictures: colors, style of the axes, and conversion to PNG."""

import io
import warnings
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAIN, VALIDATION, AUDIT, INK, FAINT = '#2a6fbb', '#12876f', '#d9622b', '#22272e', '#8b949e'
AUDITS = (AUDIT, '#9a3f8f', '#b8860b', '#c2255c')
GROUPS = ('#2a6fbb', '#d9622b', '#12876f', '#9a3f8f', '#b8860b', '#4b5563', '#c2255c', '#0891b2')
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

# All lines of a panel differ in color and dashes, so that a line is visible even where it covers another.
SOLID, LONG = '-', (0, (7, 2))
DOTS = ((0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (3, 1.5)), (0, (5, 1.2, 1.2, 1.2, 1.2, 1.2)))


def context() -> Any:
  """Returns a context manager that applies the style to figures."""
  return matplotlib.rc_context(STYLE)


def percent(value: float, _: int | None = None) -> str:
  """Returns the label of a tick with all its digits, so that close ticks such as 84 and 84.5 % differ."""
  return f'{round(100 * value, 6):g}%'


def epoch_axis(ax: Axes) -> None:
  """Sets the x axis to whole epochs."""
  low, high = ax.get_xlim()
  if high - low < 1:  # one epoch
    ax.set_xlim((low + high) / 2 - 0.5, (low + high) / 2 + 0.5)
  ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plain(text: str) -> str:
  """Returns text with $ escaped, which would otherwise start a formula in matplotlib."""
  return str(text).replace('$', r'\$')


def short(name: str, width: int = 18) -> str:
  """Returns a name cut in its middle, because names of classes often have a common beginning."""
  return name if len(name) <= width else f'{name[: width // 2]}…{name[width // 2 + 1 - width :]}'


def png(figure: Figure) -> bytes:
  """Returns a figure as PNG."""
  if figure.get_layout_engine():  # figures without an engine set their own margins
    figure.set_layout_engine('constrained', w_pad=0.1, h_pad=0.1)
  buffer = io.BytesIO()
  with warnings.catch_warnings():
    warnings.filterwarnings(
      'ignore', 'Glyph .* missing'
    )  # names in scripts that the font lacks; report.html shows them
    FigureCanvasAgg(figure).print_png(buffer, metadata={'Software': None})
  return buffer.getvalue()
