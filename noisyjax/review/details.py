"""What the page shows of one row beyond columns: the probabilities of all classes, and the nearest rows."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from noisyjax.review import evidence
from noisyjax.rules import evidence as evidences
from noisyjax.system import parquet, reading
from noisyjax.system.errors import UserError
from noisyjax.tables import store


class Rows(Protocol):
  """Rows of numbers by their place: an array [n, k], or a file that holds one."""

  def __getitem__(self, row: int, /) -> np.ndarray: ...


class Details(NamedTuple):
  """Arrays of a run, whose rows are those of its file.

  Attributes:
    source: name of the run.
    basis: `evidence.IN_SAMPLE` or `evidence.OUT_OF_FOLD`, of the probabilities.
    row_of: int64 [N], row of the file for each place of the table; -1 = none.
    place_of: row of the file → place of the table.
    probs: rows float32 [C].
    neighbours: rows int32 [k], rows of the file, the nearest first; None where there are none.
  """

  source: str
  basis: str
  row_of: np.ndarray
  place_of: dict[int, int]
  probs: Rows
  neighbours: Rows | None


def read(workdirs: Sequence[Path], table: store.Table) -> list[Details]:
  """Reads RUN/analysis/*.oof.npy (else *.probs.npy) and *.neighbours.npy; without an analysis, samples.parquet.

  Raises:
    UserError: a file is damaged.
  """
  out = []
  for workdir in workdirs:
    name = workdir.resolve().name
    if (path := workdir / 'evidence.parquet').exists():
      found = evidences.read(path, table.rows)
      basis, rows = evidence.IN_SAMPLE if found.in_sample else evidence.OUT_OF_FOLD, np.arange(len(table.rows))
      out.append(_made(name, basis, rows, found.probs, None))
    for path in sorted(workdir.glob('analysis/*.parquet')):
      beside = {kind: path.with_suffix(f'.{kind}.npy') for kind in ('oof', 'probs', 'neighbours')}
      kind = 'oof' if beside['oof'].exists() else 'probs'
      if beside[kind].exists():
        rows = evidence.where(keys := parquet.read(path, evidence.KEYS)[0], table.rows)
        count = len(next(iter(keys.values()), ()))
        near = _array(beside['neighbours'], count, 'iu') if beside['neighbours'].exists() else None
        basis = evidence.OUT_OF_FOLD if kind == 'oof' else evidence.IN_SAMPLE
        out.append(_made(name, basis, rows, _array(beside[kind], count, 'f'), near))
    path = workdir / 'samples.parquet'
    if path.exists() and not any(each.source == name for each in out):
      samples = parquet.read(path, (*evidence.KEYS, 'probs'))[0]
      if 'probs' in samples:
        rows = evidence.where(samples, table.rows)
        if samples['probs'].ndim != 2:
          raise UserError(f'{path}: probs: is no list of numbers in each row; expected one for each class.')
        out.append(_made(name, evidence.IN_SAMPLE, rows, samples['probs'], None))
  return out


class _Stored:
  """The rows of a .npy file, read one by one. If the file is cut meanwhile, a memory map would end the process."""

  def __init__(self, path: Path, mapped: np.memmap) -> None:
    self._file, self._offset, self._dtype = path.open('rb'), mapped.offset, mapped.dtype
    self._bytes = mapped.dtype.itemsize * mapped.shape[1]

  def __getitem__(self, row: int) -> np.ndarray:
    content = os.pread(self._file.fileno(), self._bytes, self._offset + row * self._bytes)
    if len(content) < self._bytes:
      raise UserError(f'{self._file.name}: was cut after it was opened; run analyze again.')
    return np.frombuffer(content, self._dtype)


def _array(path: Path, count: int, kinds: str) -> Rows:
  """Opens an array [count, k] of some kinds of numbers; raises UserError if the file holds something else."""
  with reading.reading(path, 'an array of numbers'):
    found = np.load(path, mmap_mode='r')
    if found.ndim != 2 or len(found) != count or found.dtype.kind not in kinds or not found.flags.c_contiguous:
      raise ValueError(f'found {found.dtype} of shape {list(found.shape)}, expected a row for each of {count} rows')
    return _Stored(path, found)


def _made(name: str, basis: str, row_of: np.ndarray, probs: Rows, near: Rows | None) -> Details:
  place_of = {row: place for place, row in enumerate(row_of.tolist()) if row >= 0}
  return Details(name, basis, row_of, place_of, probs, near)


def of_place(found: Sequence[Details], place: int) -> list[dict[str, Any]]:
  """Returns source, basis, probabilities and the places of the nearest rows, of each run that knows the row."""
  out = []
  for each in found:
    row = int(each.row_of[place])
    if row >= 0:
      probs = each.probs[row]
      probs = probs.tolist() if np.isfinite(probs).all() else []
      close = [] if each.neighbours is None else each.neighbours[row].tolist()
      near = [each.place_of[other] for other in close if other in each.place_of]
      out.append({'source': each.source, 'basis': each.basis, 'probs': probs, 'neighbours': near})
  return out
