"""The rows of a label table: what is known and decided of each sample, as columns.

A row is *labeled* if and only if its label is not -1, and only a labeled row's label reaches anything. An *unlabeled*
row may still feed streams that are declared unlabeled. *Dropped* and *held* rows have the weight 0 and reach nothing.
`label` feeds the given labels of a run, `verified` (what a person or the source checked) its verified ones.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noisyjax.system import parquet
from noisyjax.system.errors import UserError
from noisyjax.tables.status import Status

STATUSES = tuple(status.name.lower() for status in Status)
LABELED, UNLABELED, DROPPED, HELD = Status
SPLITS = ('train', 'val', 'test')
TRAIN, VAL, TEST = range(3)

STATE = ('split', 'status', 'label', 'verified', 'weight')  # what edits change, always together
WHY = ('by', 'reason', 'evidence', 'version')  # who changed a row last, and on what grounds
NAMED = ('id', 'name', *STATE, 'given_label')  # what a version is named by: neither time, nor author, nor decoder
SOURCE = 'source'  # who labeled a row that nobody changed
DTYPES = {'split': np.int8, 'status': np.int8, 'label': np.int32, 'verified': np.int32, 'weight': np.float32}
CODES = {'split': SPLITS, 'status': STATUSES}


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
  """Columns of equal length [N], sorted by id.

  Attributes:
    id: str, sha256 of the file's bytes; followed by ":" and the name where two files are equal.
    name: str, the file's name below the folder of images.
    digest: str, of the decoded pixels; '' where not known.
    split: int8, an index into SPLITS.
    status: int8, an index into STATUSES.
    label: int32, a class; -1 unless the row is labeled.
    verified: int32, the class that a person or the source checked; -1 where nobody did.
    weight: float32, what the row counts in losses; 0 for dropped and held rows.
    given_label: int32, the label as first delivered, -1 for none; never changed.
    by: str, who changed the row last: "source", "rule:NAME" or "person:NAME".
    reason: str, in words.
    evidence: str, what the change was decided by, such as a score.
    version: str, the version that holds the change first; '' for the first version.
  """

  id: np.ndarray
  name: np.ndarray
  digest: np.ndarray
  split: np.ndarray
  status: np.ndarray
  label: np.ndarray
  verified: np.ndarray
  weight: np.ndarray
  given_label: np.ndarray
  by: np.ndarray
  reason: np.ndarray
  evidence: np.ndarray
  version: np.ndarray

  def __len__(self) -> int:
    return len(self.id)

  def places(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
    """Returns the place of each id, int64 [n]; -1 where there is no such row."""
    asked = texts(ids)
    found = np.searchsorted(self.id, asked)
    found[found == len(self)] = 0
    return np.where(self.id[found] == asked, found, -1).astype(np.int64) if len(self) else found - 1

  def places_named(self, ids: Sequence[str] | np.ndarray, names: Sequence[str] | np.ndarray) -> np.ndarray:
    """Returns the places of images, as `places`; an image whose copy joined the data set later is found by its name.

    Args:
      ids: ids [n] that the images have today. Behind the digest of one with copies stands its name, which the table
        lacks where the copy came later.
      names: their names [n].
    """
    asked, names = texts(ids), np.asarray(names)
    places = self.places(asked)
    copied = np.flatnonzero((places < 0) & np.array([':' in id for id in asked], bool))
    alone = self.places([id.partition(':')[0] for id in asked[copied]])
    same = (alone >= 0) & (self.name[alone] == names[copied])
    places[copied[same]] = alone[same]
    return places


COLUMNS = tuple(field.name for field in dataclasses.fields(Rows))
TEXTS = tuple(name for name in COLUMNS if name not in DTYPES and name != 'given_label')


def texts(values: Sequence[str] | np.ndarray) -> np.ndarray:
  """Returns strings as an array of objects [n]: a long name costs nothing in the other rows."""
  out = np.empty(len(values), object)
  out[:] = [str(value) for value in values]
  return out


def first(
  ids: Sequence[str] | np.ndarray,
  names: Sequence[str] | np.ndarray,
  given: np.ndarray,
  classes: Sequence[str],
  *,
  verified: np.ndarray | None = None,
  split: np.ndarray | None = None,
  digests: Sequence[str] | np.ndarray | None = None,
) -> Rows:
  """Returns the rows of a first version: labeled as the source gives and checked them, all of weight 1.

  Args:
    ids: N different ids.
    names: N names.
    given: int [N], -1 = unlabeled.
    classes: names of the classes.
    verified: int [N], -1 = unchecked; None: nobody checked any. It is the label of a row without a given one.
    split: int [N], indices into SPLITS; None: all train.
    digests: N digests of decoded pixels; None: not known.

  Raises:
    UserError: an id occurs twice, or a label is no class.
  """
  count = len(ids)
  given = np.asarray(given, np.int32)
  verified = np.full(count, -1, np.int32) if verified is None else np.asarray(verified, np.int32)
  label = np.where(given >= 0, given, verified).astype(np.int32)
  blank = texts([''] * count)
  keys = texts(ids)
  order = np.argsort(keys, kind='stable')
  columns = {
    'id': keys,
    'name': texts(names),
    'digest': blank if digests is None else texts(digests),
    'split': np.zeros(count, np.int8) if split is None else np.asarray(split, np.int8),
    'status': np.where(label >= 0, LABELED, UNLABELED).astype(np.int8),
    'label': label,
    'verified': verified,
    'weight': np.ones(count, np.float32),
    'given_label': given,
    'by': texts([SOURCE] * count),
    'reason': blank,
    'evidence': blank,
    'version': blank,
  }
  made = Rows(**{name: column[order] for name, column in columns.items()})
  twice = np.flatnonzero(made.id[1:] == made.id[:-1])
  if len(twice):
    raise UserError(f'ids: {made.id[twice[0]]!r} occurs twice; expected every id once.')
  check(made, len(classes))
  return made


def check(rows: Rows, classes: int, places: np.ndarray | slice = slice(None)) -> None:
  """Checks that rows keep the invariant.

  Args:
    rows: the rows.
    classes: number of classes.
    places: the rows to look at; all by default.

  Raises:
    UserError: Naming the first row that breaks it, and how.
  """
  split, status, label, verified, weight = (getattr(rows, name)[places] for name in STATE)
  given, labeled, used = rows.given_label[places], status == LABELED, status <= UNLABELED
  broken = {
    'its split is none of train, val and test': (split < 0) | (split >= len(SPLITS)),
    f'its status is none of {", ".join(STATUSES)}': (status < 0) | (status >= len(STATUSES)),
    f'its label is no class: expected 0 to {classes - 1}, or -1': (label < -1) | (label >= classes),
    f'its given label is no class: expected 0 to {classes - 1}, or -1': (given < -1) | (given >= classes),
    'it is labeled without a label, or has a label and is not labeled': labeled != (label >= 0),
    'its verified label is no class, or the row is not labeled': (verified < -1)
    | (verified >= classes)
    | ((verified >= 0) & ~labeled),
    'its weight is not a finite number above 0, or 0 where it is dropped or held': ~np.isfinite(weight)
    | ((weight > 0) != used)
    | (weight < 0),
  }
  for what, where in broken.items():
    if where.any():
      row = np.arange(len(rows))[places][np.flatnonzero(where)[0]]
      raise UserError(f'row {rows.id[row]} ({rows.name[row]}): {what}.')


def digest(rows: Rows, columns: Sequence[str] = NAMED) -> str:
  """Returns the sha256 (hex) of columns, whatever file they were read from."""
  out = hashlib.sha256(f'{len(rows)}'.encode())
  for name in columns:
    column = getattr(rows, name)
    out.update(f'\n{name}\n'.encode())
    if column.dtype == object:
      arrow = pa.array(column, pa.large_string())
      offsets = np.frombuffer(arrow.buffers()[1], '<i8', len(column) + 1)
      out.update(offsets.tobytes() + (arrow.buffers()[2] or b''))
    else:
      out.update(np.ascontiguousarray(column.astype(column.dtype.newbyteorder('<'))).tobytes())
  return out.hexdigest()


def to_arrow(rows: Any, columns: Sequence[str] = COLUMNS) -> pa.Table:
  """Returns columns of `Rows` or `Edits` as an Arrow table, in which split and status are words."""
  out = {}
  for name in columns:
    column = getattr(rows, name)
    if name in CODES:
      out[name] = pa.DictionaryArray.from_arrays(column, list(CODES[name])).cast(pa.string())
    else:
      out[name] = pa.array(column, pa.string()) if column.dtype == object else pa.array(column)
  return pa.table(out)


def write(path: Path, table: pa.Table) -> None:
  """Writes an Arrow table as Parquet, as a whole; raises UserError as `storage.write_bytes` does."""
  plain = [name for name in table.column_names if name not in ('id', 'digest', 'name')]  # all different
  parquet.write_table(path, table, use_dictionary=plain)


def read(path: Path, columns: Sequence[str] = COLUMNS) -> dict[str, np.ndarray]:
  """Reads the columns that `write` wrote.

  Raises:
    UserError: Naming the file that is missing, damaged, or lacks a column.
  """
  with parquet.opened(path) as file:
    out = {}
    for name in columns:  # one at a time: less is in memory twice
      out[name] = file.read([name], use_threads=False)[name].combine_chunks().to_numpy(zero_copy_only=False)
    for name, words in CODES.items():
      if name in out:
        place = {word: code for code, word in enumerate(words)}
        out[name] = np.array([place[word] for word in out[name].tolist()], np.int8)
  return out
