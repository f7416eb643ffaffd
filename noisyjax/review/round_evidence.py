"""The evidence of a round of the loop as columns of the page: out-of-fold, of networks of several folds and seeds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from noisyjax.rules import evidence as evidences
from noisyjax.tables.rows import Rows

_LEFT_OUT = 'frozen_right'  # about frozen labels, which the page does not show


def columns(path: Path, rows: Rows) -> tuple[str, bool, dict[str, np.ndarray]]:
  """Reads W/round=r/evidence.parquet.

  Args:
    path: the file.
    rows: rows of the table; the labels count that they have now.

  Returns:
    The version that the networks were trained on, whether they were trained on the rows that they judge, and the
    columns [N], under the names of `analysis.columns`.

  Raises:
    UserError: the file is damaged, or about other rows.
  """
  found = evidences.read(path, rows)
  return found.version, found.in_sample, dict(_named(found, rows))


def _named(found: evidences.Evidence, rows: Rows) -> Iterator[tuple[str, np.ndarray]]:
  first = '' if found.in_sample else 'oof_'
  yield f'{first}predicted', found.predicted
  yield f'{first}second', found.second
  yield f'{first}confidence', found.confidence
  yield f'{first}entropy', found.entropy
  yield f'{first}loss', -np.log(np.maximum(found.of(rows.label), 1e-12))
  yield f'{first}agree', found.agree
  yield from ((name, values) for name, values in found.columns.items() if name != _LEFT_OUT)
