"""A table of results, as Markdown for reading, CSV for programs and LaTeX for papers."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

import numpy as np

from noisyjax.estimate.interval import wilson
from noisyjax.reports import formatting
from noisyjax.system import storage


@dataclasses.dataclass(frozen=True)
class Spread:
  """A number that was measured in one or more runs.

  Attributes:
    mean: mean over the runs.
    std: sample standard deviation over the runs; None for one run.
    n: number of runs.
    interval: lower and upper end of the confidence interval of the mean; None if it is not known.
    digits: number of digits after the decimal point.
    mark: text after the number.
  """

  mean: float
  std: float | None
  n: int
  interval: tuple[float, float] | None = None
  digits: int = 2
  mark: str = ''

  def text(self, plus_minus: str = '±') -> str:
    """Returns "83.33 ± 1.20 (3) [74.10, 89.70]"."""
    form = lambda value: f'{value:.{self.digits}f}'
    out = form(self.mean) + (f' {plus_minus} {form(self.std)}' if self.std is not None else '') + f' ({self.n})'
    out += f' [{form(self.interval[0])}, {form(self.interval[1])}]' if self.interval else ''
    return out + (f' {self.mark}' if self.mark else '')


def spread(
  values: Iterable[float | None], rows: int = 0, scale: float = 100.0, digits: int = 2, mark: str = ''
) -> Spread | None:
  """Returns mean and standard deviation of the finite values, one of each run; None if there are none.

  Args:
    values: the values; None = unknown.
    rows: on how many rows a share was counted; the mean gets the 95 % interval (Wilson) of this number. 0 = none.
    scale: factor on the values; 100 for percent.
    digits: number of digits after the decimal point.
    mark: text after the number.
  """
  known = [float(v) for v in values if v is not None and np.isfinite(v)]
  if (found := formatting.mean_std(known)) is None:
    return None
  mean, std = found
  interval = None
  if rows:
    low, high = wilson(mean * rows, rows)
    interval = (scale * float(low), scale * float(high))
  return Spread(scale * mean, None if std is None else scale * std, len(known), interval, digits, mark)


Cell = str | Spread | None  # None = not known
DECIMALS = 6  # of numbers in CSV: 83.75 instead of 83.74999999999999


@dataclasses.dataclass(frozen=True)
class Table:
  """A table.

  Attributes:
    head: names of the columns.
    rows: rows, each with a cell for every column.
    notes: sentences below the table.
  """

  head: Sequence[str]
  rows: Sequence[Sequence[Cell]]
  notes: Sequence[str] = ()

  def __str__(self) -> str:
    """Returns the table as Markdown, "-" for unknown values, followed by the notes."""
    rows = [[cell.text() if isinstance(cell, Spread) else cell or '-' for cell in row] for row in self.rows]
    return '\n'.join([formatting.markdown(self.head, rows), *([''] if self.notes else []), *self.notes]) + '\n'

  def csv(self) -> str:
    """Returns the table as CSV; a column of measurements is followed by std, n and, if known, the interval."""
    parts = [self._parts(i) for i in range(len(self.head))]
    head = [f'{name} {part}'.rstrip() for name, own in zip(self.head, parts) for part in own]
    rows = [[value for cell, own in zip(row, parts) for value in _values(cell, own)] for row in self.rows]
    return storage.csv_text([head, *rows])

  def _parts(self, column: int) -> tuple[str, ...]:
    """Returns the names of the CSV columns of a column, without its own name."""
    measured = [cell for row in self.rows if isinstance(cell := row[column], Spread)]
    if not measured:
      return ('',)
    return ('', 'std', 'n', *(('low', 'high') if any(cell.interval for cell in measured) else ()))

  def latex(self) -> str:
    r"""Returns the table as a LaTeX tabular for the package booktabs, followed by the notes; all text is escaped."""
    numbers = [any(isinstance(row[i], Spread) for row in self.rows) for i in range(len(self.head))]
    line = lambda cells: ' & '.join(cells) + r' \\'
    cell = lambda c: c.text(r'$\pm$').replace('%', r'\%') if isinstance(c, Spread) else latex(c or '-')
    note = lambda text: rf'\multicolumn{{{len(self.head)}}}{{p{{0.9\linewidth}}}}{{\footnotesize {latex(text)}}} \\'
    return (
      '\n'.join(
        [
          '% \\usepackage{booktabs}',
          rf'\begin{{tabular}}{{{"".join("r" if n else "l" for n in numbers)}}}',
          r'\toprule',
          line(map(latex, self.head)),
          r'\midrule',
          *(line(map(cell, row)) for row in self.rows),
          r'\bottomrule',
          *map(note, self.notes),
          r'\end{tabular}',
        ]
      )
      + '\n'
    )


def _values(cell: Cell, parts: Sequence[str]) -> list:
  """Returns the values of a cell for the CSV columns `parts`."""
  if not isinstance(cell, Spread):
    return [cell or '', *[''] * (len(parts) - 1)]
  known = {'': cell.mean, 'std': cell.std, 'n': cell.n}
  known |= dict(zip(('low', 'high'), cell.interval or (None, None)))
  return ['' if (value := known[part]) is None else round(value, DECIMALS) for part in parts]


_LATEX = {
  '\\': r'\textbackslash{}',
  '~': r'\textasciitilde{}',
  '^': r'\textasciicircum{}',
  '<': r'\textless{}',
  '>': r'\textgreater{}',
  '|': r'\textbar{}',
  '[': '{[}',
  ']': '{]}',
  '±': r'$\pm$',
  '→': r'$\rightarrow$',
  '≥': r'$\geq$',
  '≤': r'$\leq$',
  '…': r'\dots{}',
  '†': r'$\dagger$',
  **{c: f'\\{c}' for c in '&%$#_{}'},
}


def latex(text: str) -> str:
  """Returns text escaped for LaTeX; control characters and line breaks become spaces."""
  return ''.join(_LATEX.get(c, c) for c in re.sub(r'[\x00-\x1f\x7f]', ' ', text))
