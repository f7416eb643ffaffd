"""Writes and reads the table of an analysis; its columns are those of `analysis.columns`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noisyjax.analysis.columns import COLUMNS
from noisyjax.system import formats, parquet
from noisyjax.system.errors import UserError, listed

TYPES = {'int64': pa.int64(), 'int32': pa.int32(), 'float32': pa.float32(), 'bool': pa.bool_(), 'str': pa.string()}


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
  """An analysis, read from its Parquet file.

  Attributes:
    columns: name → values [n]. Nulls are NaN in floats, −1 in integers, False in bools and '' in strings; which values
      are null is in `known`.
    known: name → bool [n], False where the column is null.
    notes: what the file says of itself: `run` (id of the run), `checkpoint` ("best" or "last"), `checkpoint_sha256`,
      `data` (fingerprint of the run's data), `table` (version of the label table, or ''), `classes` (names).
    path: where it was read from.
  """

  columns: dict[str, np.ndarray]
  known: dict[str, np.ndarray]
  notes: dict[str, Any]
  path: Path

  def __len__(self) -> int:
    return len(self.columns['row'])

  def __getitem__(self, name: str) -> np.ndarray:
    """Returns a column; raises UserError if the analysis lacks it, so that nobody takes nulls for evidence."""
    self.need([name])
    return self.columns[name]

  def need(self, names: Sequence[str]) -> None:
    """Raises UserError if a column is unknown, or null in every row.

    Args:
      names: names of columns.
    """
    if unknown := [name for name in names if name not in COLUMNS]:
      raise UserError(f'{self.path}: there is no column {unknown[0]!r}; expected one of: {listed(COLUMNS)}.')
    if lacking := [name for name in names if len(self) and not self.known[name].any()]:
      raise UserError(
        f'{self.path}: the analysis lacks {listed(lacking)}: null are {COLUMNS[lacking[0]].null}. Expected a run or an '
        'analysis that has it.'
      )


def write(path: Path, columns: Mapping[str, Any], notes: Mapping[str, Any]) -> None:
  """Writes the table atomically.

  Args:
    path: the Parquet file.
    columns: name → values [n], or a masked array, whose masked values become null, as NaN does. Missing ones are null.
    notes: what `Analysis.notes` holds, JSON-ready.

  Raises:
    ValueError: a column is unknown, of another length, or null where `COLUMNS` does not allow it.
    UserError: the file cannot be written.
  """
  if unknown := columns.keys() - COLUMNS.keys():
    raise ValueError(f'There is no column {min(unknown)!r}.')
  count, out = len(columns['row']), {}
  for name, column in COLUMNS.items():
    kind = TYPES[column.dtype]
    if name not in columns:
      out[name] = pa.nulls(count, kind)
      continue
    values, masked = np.ma.getdata(columns[name]), np.ma.getmaskarray(columns[name])
    null = masked | np.isnan(values) if values.dtype.kind == 'f' else masked
    if len(values) != count or (null.any() and not column.null):
      raise ValueError(f'{name}: found {len(values)} values, {null.sum()} of them null; expected {count}, none null.')
    text = column.dtype == 'str'  # whatever NumPy's type of the texts is
    cast = np.array(list(map(str, values.tolist())), str) if text else values.astype(column.dtype)
    out[name] = pa.array(cast, kind, mask=null)
  metadata = {name: json.dumps(value) for name, value in formats.stamped(formats.ANALYSIS, notes).items()}
  parquet.write_table(path, pa.table(out).replace_schema_metadata(metadata))


def read(path: str | Path) -> Analysis:
  """Reads an analysis.

  Args:
    path: the Parquet file, RUN/analysis/<checkpoint>.parquet.

  Raises:
    UserError: the file is missing, damaged or of another format.
  """
  path = Path(path)
  with parquet.opened(path) as file:
    table, notes = file.read(use_threads=False), parquet.notes(file.schema_arrow)
  notes = formats.read(formats.ANALYSIS, notes, path)
  if tuple(table.column_names) != tuple(COLUMNS):
    odd = sorted(set(table.column_names) ^ COLUMNS.keys())
    raise UserError(f'{path}: expected the columns of an analysis; different are {listed(odd) or "their order"}.')
  blank = {'float32': np.nan, 'bool': False, 'str': '', 'int32': -1, 'int64': -1}
  columns, known = {}, {}
  for name, column in COLUMNS.items():
    values = table[name].combine_chunks()
    known[name] = values.is_valid().to_numpy(zero_copy_only=False)
    filled = values.fill_null(blank[column.dtype]).to_numpy(zero_copy_only=False)
    columns[name] = filled.astype(str) if column.dtype == 'str' else filled
  return Analysis(columns, known, notes, path)
