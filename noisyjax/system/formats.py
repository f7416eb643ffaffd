"""Format numbers of all file kinds, and JSON files that carry a format number and a checksum.

Increase a number in `WRITTEN` when the meaning of a file changes, and its number in `OLDEST` when older files can no
longer be read. Files from before format numbers count as format 0. Logs, CSV files and pictures have no number: the
number of the JSON file beside them applies.

Each JSON file holds a sha256 of its own content, the seal. Readers compare it, so that a value that changed on disk is
detected, and a file with a valid seal has every field that readers rely on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisyjax.system import storage
from noisyjax.system.errors import UserError

RUN = 'run'  # config.json, environment.json, result.json, model.json, samples.parquet, audit.parquet and the logs
CHECKPOINT = 'checkpoint'
WEIGHTS = 'weights'
FIND = 'find'  # find.json; also covers issues.csv, issues.html and probs.npy
SWEEP = 'table'  # sweep.json; also covers the tables and pictures of a sweep or a cross-validation
ANALYSIS = 'analysis'  # <checkpoint>.json of an analysis; also covers its Parquet and .npy files
LABEL_TABLE = 'labels'  # table.json, manifests and branches of a label table; also covers its rows, edits and journal
LOOP = 'loop'  # loop.json, round.json, rules.json and audit.json of a loop
DECODED = 'decoded'  # entries of the image cache; increase both numbers when `decode` returns different pixels
PACK = 'pack'  # pack.json; also covers the pixels, the Parquet files and the journal of a pack

WRITTEN = {
  RUN: 1,
  CHECKPOINT: 2,
  WEIGHTS: 1,
  FIND: 1,
  SWEEP: 1,
  ANALYSIS: 1,
  LABEL_TABLE: 1,
  LOOP: 1,
  DECODED: 2,
  PACK: 1,
}
OLDEST = WRITTEN | {RUN: 0, WEIGHTS: 0}


def stamped(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content `value` of a file with the format number of its kind added."""
  return {'format': WRITTEN[kind], **value}


def read(kind: str, value: Mapping[str, Any], where: Any) -> dict[str, Any]:
  """Returns the content of a file without its format number.

  Args:
    kind: the kind of file, such as RUN.
    value: the content of the file.
    where: the name of the file in messages.

  Raises:
    UserError: this version cannot read the file's format, or the content is not a JSON object.
  """
  if not isinstance(value, Mapping):
    raise UserError(f'{where}: holds {type(value).__name__}, expected a JSON object.')
  number = value.get('format', 0)
  oldest, newest = OLDEST[kind], WRITTEN[kind]
  if type(number) is not int or not oldest <= number <= newest:
    age = 'an older' if type(number) is int and number < oldest else 'a newer'
    known = f'format {newest}' if oldest == newest else f'formats {oldest} to {newest}'
    raise UserError(
      f'{where}: written by {age} noisyjax, format {number!r}; this version reads {known}. Use the version that wrote '
      'it, or another folder.'
    )
  return {k: v for k, v in value.items() if k != 'format'}


def write_json(kind: str, path: Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON file with its format number and seal; raises like `storage.write_bytes`."""
  content = stamped(kind, json.loads(storage.json_text(value)))
  storage.write_json(path, {**content, 'seal': digest(content)})


def read_json(kind: str, path: Path) -> dict[str, Any]:
  """Reads a JSON file and returns its content without format number and seal.

  Only files of format 0 have no seal. Of these, reading a field that is missing raises a UserError, too.

  Raises:
    UserError: the file is missing, damaged or edited, or has a format that this version cannot read.
  """
  content = storage.read_json(path)
  found = read(kind, content, path)
  seal = found.pop('seal', None)
  if seal is None and 'format' not in content:
    return _Unsealed(found, path)
  if seal != digest({k: v for k, v in content.items() if k != 'seal'}):
    why = 'it has no seal (sha256)' if seal is None else 'its content does not match its seal (sha256)'
    raise UserError(
      f'{path}: the file was damaged or edited after it was written: {why}. Restore the original file, or use another '
      'folder.'
    )
  return found


class _Unsealed(dict[str, Any]):
  """The content of a file without a seal: of format 0, or of another program that uses the same name."""

  def __init__(self, content: Mapping[str, Any], path: Path) -> None:
    super().__init__(content)
    self._path = path

  def __missing__(self, name: str) -> Any:
    raise UserError(f'{self._path}: has no field {name!r}; expected a file that noisyjax wrote.')


def digest(value: Any) -> str:
  """Returns the sha256 (hex) of JSON data; the order of keys does not matter."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
