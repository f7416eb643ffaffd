"""How the benchmarks write their tables: means and spreads over seeds, as markdown."""

import numpy as np


def spread(values: list, scale: float = 100.0, digits: int = 1) -> str:
  """Returns "mean ± sample standard deviation" of what is known among `values`; without the spread for one value."""
  values = [v * scale for v in values if v is not None and np.isfinite(v)]
  if not values:
    return '–'
  mean = f'{np.mean(values):.{digits}f}'
  return f'{mean} ± {np.std(values, ddof=1):.{digits}f}' if len(values) > 1 else mean


def markdown(head: tuple[str, ...], rows: list[tuple[float, list[str]]]) -> str:
  """Returns the table of `rows`, each (what to sort by, cells), the largest first."""
  lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
  return '\n'.join(lines + ['| ' + ' | '.join(cells) + ' |' for _, cells in sorted(rows, key=lambda r: -r[0])]) + '\n'
