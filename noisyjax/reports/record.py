"""Reads the files of a finished run, from which pictures, pages and tables are made."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.system import formats, parquet, storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

# The columns that reports show; ids, names and probabilities of a million rows would take half a gigabyte.
SHOWN = ('row', 'split', 'given', 'verified', 'true', 'predicted', 'confidence')


class Scored(NamedTuple):
  """Rows that score a run.

  Attributes:
    part: "test" (audit) or "validation".
    kind: kind of the labels, "true", "verified" or "given".
    labels: labels, int [n]; -1 = no label.
    predicted: predicted classes, int [n].
    confidence: probabilities of the predicted classes, float [n]; None if the file format of the run has none.
  """

  part: str
  kind: str
  labels: np.ndarray
  predicted: np.ndarray
  confidence: np.ndarray | None

  @property
  def title(self) -> str:
    """The name of the rows for titles."""
    return 'Test rows (audit)' if self.part == 'test' else f'Validation rows ({self.kind} labels)'


@dataclass(frozen=True)
class Record:
  """The files of a finished run; large files are read when they are first used.

  Attributes:
    folder: folder of the run.
    config: content of config.json.
    result: content of result.json.

  Raises:
    UserError: a file is missing, damaged or changed; any property may raise it.
  """

  folder: Path
  config: dict[str, Any]
  result: dict[str, Any]

  @property
  def classes(self) -> list[str]:
    """The class names."""
    return [str(name) for name in self.result['data']['classes']]

  @cached_property
  def scored(self) -> 'Scored':
    """The test rows or, if there are none, the validation rows, with their labels and predictions."""
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
    """The content of environment.json."""
    return formats.read_json(formats.RUN, self.folder / 'environment.json')

  @cached_property
  def metrics(self) -> list[dict[str, Any]]:
    """The metrics of each epoch."""
    return storage.read_lines(self._intact('metrics.jsonl'))

  @cached_property
  def audit(self) -> list[dict[str, Any]]:
    """The audit metrics of each audited epoch; empty if no truth is known."""
    path = self._intact('audit.jsonl')
    return storage.read_lines(path) if path.exists() else []

  @cached_property
  def samples(self) -> dict[str, np.ndarray]:
    """The table of training and validation rows, name → column [N], of SHOWN."""
    return parquet.read(self._intact('samples.parquet'), SHOWN)[0]

  @cached_property
  def truth(self) -> dict[str, np.ndarray] | None:
    """The table of rows with a known truth, name → column [N], of SHOWN; None if there is none."""
    path = self._intact('audit.parquet')
    return parquet.read(path, SHOWN)[0] if path.exists() else None

  def _intact(self, name: str) -> Path:
    """Returns the path of a file, after checking its sha256 if result.json records one."""
    path = self.folder / name
    written = self.result.get('files', {}).get(name)
    if written is not None and storage.sha256(path) != written:
      raise UserError(f'{path}: was changed or damaged after the run wrote it; expected the sha256 in result.json.')
    return path


def read(workdir: str | os.PathLike) -> Record:
  """Opens the folder of a finished run.

  Raises:
    UserError: a file is missing or damaged.
  """
  folder = Path(workdir)
  if not (folder / 'result.json').exists():
    raise UserError(f'{folder}: is not a finished run; expected a result.json in it.')
  return Record(folder, *(formats.read_json(formats.RUN, folder / name) for name in ('config.json', 'result.json')))


def read_all(workdirs: Iterable[str | os.PathLike]) -> list[Record]:
  """Opens the folders of finished runs, and leaves out copies of a run, with a warning for each.

  Raises:
    UserError: a file is missing or damaged.
  """
  found: dict[str, Record] = {}
  for record in map(read, workdirs):
    first = found.setdefault(json.dumps([record.config, record.result], sort_keys=True), record)
    if first is not record:  # two runs never take the same seconds
      log.warning('%s: is a copy of %s, which counts once.', record.folder, first.folder)
  return list(found.values())


def history(log: Iterable[Mapping[str, Any]], field: str) -> tuple[list[int], list[float]]:
  """Returns the epochs of a log that have a field, and its values; null becomes NaN, which is a gap in a curve."""
  points = [(r['epoch'], np.nan if r[field] is None else float(r[field])) for r in log if field in r]
  if all(np.isnan(value) for _, value in points):
    return [], []
  return [epoch for epoch, _ in points], [value for _, value in points]


def nested(result: Mapping[str, Any], dotted: str) -> Any:
  """Returns the value with a dotted name, or None if there is none."""
  value: Any = result
  for part in dotted.split('.'):
    value = value.get(part) if isinstance(value, Mapping) else None
  return value
