"""Formats values for tables and pages."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from noisyjax.config.flat import flat


def exact(tree: Mapping[str, Any]) -> dict[str, str]:
  """Returns dotted name → value as JSON, without rounding."""
  return {key: json.dumps(value, ensure_ascii=False) for key, value in flat(tree).items()}


def mean_std(values: Iterable[float | None]) -> tuple[float, float | None] | None:
  """Returns mean and sample standard deviation (None for one value) of the finite values; None if there are none."""
  known = [float(v) for v in values if v is not None and np.isfinite(v)]
  if not known:
    return None
  return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else None


def spread(values: Iterable[float | None], scale: float = 100.0, digits: int = 1) -> str:
  """Returns "mean ± sample standard deviation" of the finite values, "-" if there are none.

  Args:
    values: the values; None = unknown.
    scale: factor on the values; 100 for percent.
    digits: digits after the decimal point.
  """
  found = mean_std(values)
  if found is None:
    return '-'
  return ' ± '.join(f'{scale * v:.{digits}f}' for v in found if v is not None)


def by_number(name: str) -> list[tuple[int, str]]:
  """Returns a key that sorts names by the numbers in them: "2" before "10"."""
  return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """Returns a Markdown table with padded columns, without a final line break."""
  cells = [[cell.replace('|', r'\|').replace('\n', ' ') for cell in row] for row in (head, *rows)]
  widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
  lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in cells]
  return '\n'.join([lines[0], '|' + '|'.join('-' * (width + 2) for width in widths) + '|', *lines[1:]])


def percent(value: float | None) -> str:
  """Returns a fraction as "12.34 %"; "-" if it is None or not finite."""
  return '-' if value is None or not np.isfinite(value) else f'{100 * value:.2f} %'


def rounded(value: Any) -> Any:
  """Returns a float rounded to an integer from 1,000 up and to four digits below; other values unchanged."""
  if isinstance(value, float):
    return round(value) if abs(value) >= 1000 or value.is_integer() else float(f'{value:.4g}')
  return value


def text(value: Any) -> str:
  """Returns a value of a result as the text of a table cell; lists and mappings in one line, "-" for None and ''."""
  if value is None or value == '':
    return '-'
  if isinstance(value, int) and not isinstance(value, bool):
    return f'{value:,}' if abs(value) >= 10000 else str(value)
  if isinstance(value, Mapping):
    return ', '.join(f'{text(v)} {k}' for k, v in value.items()) or '-'
  if isinstance(value, list | tuple):
    return ', '.join(text(v) for v in value) or '-'
  return str(value)
