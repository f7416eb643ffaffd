"""The files of a finished run, read back: what pictures, pages and tables are made of."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.system import formats, storage
from noisyjax.system.errors import UserError


class Scored(NamedTuple):
  """Rows that score a run.

  Attributes:
    part: 'test' (of the audit) or 'validation'. kind: of the labels: true, verified or given.
    labels: int [n], -1 = none. predicted: int [n]. confidence: [n]; None where the run's format has none.
  """

  part: str
  kind: str
  labels: np.ndarray
  predicted: np.ndarray
  confidence: np.ndarray | None

  @property
  def title(self) -> str:
    return 'Test rows (audit)' if self.part == 'test' else f'Validation rows ({self.kind} labels)'


@dataclass(frozen=True)
class Record:
  """The files of one finished run; what is large is read when it is asked for.

  Raises:
    UserError: from any attribute, naming the missing, damaged or changed file.
  """

  folder: Path
  config: dict[str, Any]
  result: dict[str, Any]

  @property
  def classes(self) -> list[str]:
    return [str(name) for name in self.result['data']['classes']]

  @cached_property
  def scored(self) -> 'Scored':
    """What the predictions are held against: the test rows, or the validation rows where there are none."""
    if self.truth is not None and (test := self.truth['split'] == 'test').any():
      kind = nested(self.result, 'audit.test_labels') or 'true'
      rows = {name: column[test] for name, column in self.truth.items()}
      return Scored('test', kind, rows['true'], rows['predicted'], rows.get('confidence'))
    validation = self.samples['split'] == 'val'
    kind = nested(self.result, 'validation.labels') or 'given'
    rows = {name: column[validation] for name, column in self.samples.items()}
    return Scored('validation', kind, rows[kind], rows['predicted'], rows.get('confidence'))

  @cached_property
  def environment(self) -> dict[str, Any]:
    return formats.read_json(formats.RUN, self.folder / 'environment.json')

  @cached_property
  def metrics(self) -> list[dict[str, Any]]:
    """One per epoch."""
    return storage.read_lines(self._intact('metrics.jsonl'))

  @cached_property
  def audit(self) -> list[dict[str, Any]]:
    """One per audited epoch; none where no truth is known."""
    path = self._intact('audit.jsonl')
    return storage.read_lines(path) if path.exists() else []

  @cached_property
  def samples(self) -> dict[str, np.ndarray]:
    """Columns [N] of the training and validation rows."""
    return storage.read_parquet(self._intact('samples.parquet'))[0]

  @cached_property
  def truth(self) -> dict[str, np.ndarray] | None:
    """Columns [N] of the rows whose truth is known."""
    path = self._intact('audit.parquet')
    return storage.read_parquet(path)[0] if path.exists() else None

  def _intact(self, name: str) -> Path:
    """Returns the path of a file whose sha256 is the one in result.json, where one is there."""
    path = self.folder / name
    written = self.result.get('files', {}).get(name)
    if written is not None and storage.sha256(path) != written:
      raise UserError(f'{path}: its content is not what the run wrote: it was damaged or edited.')
    return path


def read(workdir: str | os.PathLike) -> Record:
  """Opens a finished workdir.

  Raises:
    UserError: naming the missing or damaged file.
  """
  folder = Path(workdir)
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: not a finished run: it has no result.json.')
  return Record(folder, *(formats.read_json(formats.RUN, folder / name) for name in ('config.json', 'result.json')))


def history(log: Iterable[Mapping[str, Any]], field: str) -> tuple[list[int], list[float]]:
  """The epochs that have the field, and its values there (null becomes NaN, a gap in the line)."""
  points = [(r['epoch'], np.nan if r[field] is None else float(r[field])) for r in log if field in r]
  if all(np.isnan(value) for _, value in points):
    return [], []
  return [epoch for epoch, _ in points], [value for _, value in points]


def nested(result: Mapping[str, Any], dotted: str) -> Any:
  """Returns the value under a dotted name; None where there is none."""
  value: Any = result
  for part in dotted.split('.'):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value
