"""Evidence columns of the page: what runs and their analyses say of the rows, joined to the rows of a table.

Only `analysis/*.parquet` and `samples.parquet` of a run and `evidence.parquet` of a round of the loop are read, columns
by name: `analysis.columns` says what they mean. They hold no true labels; `audit.parquet`, which does, is never opened.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.review import proposals, round_evidence
from noisyjax.system import formats, parquet, reading
from noisyjax.system.errors import UserError
from noisyjax.tables import edits, store, versions
from noisyjax.tables.rows import Rows

IN_SAMPLE, OUT_OF_FOLD, EMBEDDING = 'in-sample', 'out-of-fold', 'embedding'
KEYS = ('id', 'digest', 'name')  # columns that say which row of a file is which row of the table
_LEFT_OUT = {'row', 'split', 'given', 'given_label', 'verified', 'status', 'weight', 'in_sample', 'fold', *KEYS}
_TRUTH = {'true', 'truth', 'true_label'}  # no file here should hold them; if one does, they are not shown
_CLASSES = ('predicted', 'second', 'suggested', 'label', 'oof_predicted', 'oof_second', 'knn_label')
_OUT_OF_FOLD = ('oof_', 'quality_', 'issue_')
_KINDS = ('exact', 'hash', 'embedding')  # of duplicates, the closest first
_EMBEDDING = ('knn_', 'outlier', 'duplicate_', 'cluster', 'density_', 'pca_', 'map_')
_TOLD = ('oof_predicted', 'predicted', 'oof_confidence', 'oof_loss', 'confidence', 'loss', 'knn_agreement', 'aum')


class Column(NamedTuple):
  """One evidence column.

  Attributes:
    name: name of the column in its file.
    source: name of the run.
    kind: "number" or "class".
    basis: IN_SAMPLE if networks made it that were trained on the rows, OUT_OF_FOLD if they were not, EMBEDDING if it is
      about neighbours, clusters or a map.
    values: float32 or int32 [n], of the places that `read` was asked for; NaN or -1 where nothing is known.
  """

  name: str
  source: str
  kind: str
  basis: str
  values: np.ndarray


class Source(NamedTuple):
  """A run that is evidence.

  Attributes:
    name: name of the run.
    version: version of the table that the run was trained on; '' = not known.
    columns: its columns.
  """

  name: str
  version: str
  columns: list[Column]


def read(workdirs: Sequence[Path], table: store.Table, places: np.ndarray) -> list[Source]:
  """Reads the evidence of runs; a column that an analysis has is not taken from samples.parquet.

  Args:
    workdirs: folders of runs.
    table: the table.
    places: the rows of interest, int [n].

  Raises:
    UserError: a folder holds no evidence, or none of its rows is in the table.
  """
  out = []
  for workdir in workdirs:
    name, version, columns = workdir.resolve().name, _version(workdir), {}
    paths = [*sorted(workdir.glob('analysis/*.parquet')), workdir / 'samples.parquet']
    if (path := workdir / 'evidence.parquet').exists():
      with reading.reading(path, 'the evidence of a round'):
        version, trained, found = round_evidence.columns(path, table.rows)
        columns = {column.name: column for column in _typed(found, name, places, trained)}
    elif not any(path.exists() for path in paths):
      if (workdir / proposals.FILE).exists():
        continue
      raise UserError(
        f'{workdir}: has no samples.parquet, analysis/*.parquet, evidence.parquet or {proposals.FILE}; expected the '
        'folder of a run, of a round of the loop, or of proposals.'
      )
    for path in (path for path in paths if path.exists()):
      with reading.reading(path, 'columns of numbers and classes'):
        for column in _columns(path, name, table.rows, places):
          columns.setdefault(column.name, column)
    if not columns:
      raise UserError(f'{workdir}: none of its rows is in {table.folder}; expected a run on the images of the table.')
    for column in columns.values():
      if column.kind == 'class' and (most := int(column.values.max(initial=-1))) >= len(table.classes):
        raise UserError(
          f'{workdir}: {column.name}: found class {most}; expected 0 to {len(table.classes) - 1}, the classes of '
          f'{table.folder}.'
        )
    out.append(Source(name, version, list(columns.values())))
  return out


def _columns(path: Path, source: str, rows: Rows, places: np.ndarray) -> Iterator[Column]:
  """Yields the columns of a file that are numbers or classes and known for some row of the table."""
  found = parquet.read(path)[0]
  at = where(found, rows)[places]  # [n], row of the file; -1 = none
  if not (at >= 0).any():
    return
  trained = bool(np.any(found['in_sample'][at[at >= 0]])) if 'in_sample' in found else True
  yield from _typed(found, source, at, trained)


def _typed(found: Mapping[str, np.ndarray], source: str, at: np.ndarray, trained: bool) -> Iterator[Column]:
  """Yields numbers and classes.

  Args:
    found: name → column of a file.
    source: name of the run.
    at: int64 [n], row of the file for each place; -1 = none.
    trained: whether the networks were trained on the rows.
  """
  there = at >= 0
  for name, values in found.items():
    if name in _LEFT_OUT | _TRUTH or (values.dtype.kind not in 'biufO' and name != 'duplicate_kind'):
      continue
    if values.ndim > 1:  # probabilities, which the card of a row shows
      continue
    if name == 'duplicate_kind':
      values = _kinds(values)
    numbers = np.array(values, np.float64)  # None, where a bool is not known, becomes NaN
    kind = 'class' if name in _CLASSES else 'number'
    out = np.full(len(at), np.nan)
    out[there] = numbers[at[there]]
    if np.isnan(out).all():
      continue
    typed = np.nan_to_num(out, nan=-1).astype(np.int32) if kind == 'class' else out.astype(np.float32)
    yield Column(name, source, kind, _basis(name, trained), typed)


def _kinds(values: np.ndarray) -> np.ndarray:
  """Returns kinds of duplicates as numbers, in the order of `_KINDS`; NaN = no duplicate."""
  return np.array([_KINDS.index(kind) if kind in _KINDS else np.nan for kind in values.tolist()])


def _basis(name: str, trained: bool) -> str:
  if name.startswith(_EMBEDDING):
    return EMBEDDING
  return OUT_OF_FOLD if name.startswith(_OUT_OF_FOLD) or not trained else IN_SAMPLE


def where(found: dict[str, np.ndarray], rows: Rows) -> np.ndarray:
  """Returns the row of a file for each row of the table, int64 [N]; -1 = none."""
  for theirs in KEYS:
    for ours in (rows.id, rows.digest, rows.name):
      if theirs in found:
        row_of = {key: i for i, key in enumerate(found[theirs].tolist()) if key}
        matched = np.array([row_of.get(key, -1) for key in ours.tolist()], np.int64)
        if (matched >= 0).any():
          return matched
  return np.full(len(rows), -1, np.int64)


def _version(workdir: Path) -> str:
  """Returns the version of the table that a run trained on; '' = not known."""
  path = workdir / 'result.json'
  if not path.exists():
    return ''
  with reading.reading(path, 'the result of a run'):
    data: dict[str, Any] = formats.read_json(formats.RUN, path).get('data') or {}
    version = (data.get('table') or {}).get('version', '')
    if not isinstance(version, str):
      raise TypeError(f'data.table.version is {version!r}; expected text')
  return version


def stale(table: store.Table, version: str) -> int:
  """Returns how many rows changed between a version of the table and the open one; -1 = not known."""
  if version == table.version.name:
    return 0
  if not version or version not in versions.names(table.folder):
    return -1
  return len(edits.changed(versions.read(table.folder, version).rows, table.rows))


def told(sources: Sequence[Source], index: int, classes: Sequence[str]) -> str:
  """Returns what the evidence says of a row, for the journal: predictions, losses, and whether they are in-sample."""
  parts = []
  for source in sources:
    columns = {column.name: column for column in source.columns}
    for column in (columns[name] for name in _TOLD if name in columns):
      value, mark = column.values[index], f' ({IN_SAMPLE})' if column.basis == IN_SAMPLE else ''
      if column.kind == 'class' and value >= 0:
        parts.append(f'{column.name} {classes[value]}{mark}')
      elif column.kind == 'number' and np.isfinite(value):
        parts.append(f'{column.name} {value:.3g}{mark}')
  return ', '.join(parts)
