"""The format number of each kind of file, in this one place: a file of another one is read or refused by name.

Raise a number when a file's meaning changes, and its `OLDEST` when what was written before cannot be read any more.
0 is what had no number yet. A log, CSV or picture has none of its own: that of the JSON beside it is its number, too.

Each JSON file holds a sha256 of its own content, its seal: a number that changed on the disk is noticed, and a file
that another program made lacks none of the fields that readers count on.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noisyjax.system import storage
from noisyjax.system.errors import UserError

RUN = 'run'  # config, environment, result and model.json; samples and audit.parquet; with them metrics and audit.jsonl
CHECKPOINT = 'checkpoint'
WEIGHTS = 'weights'
FIND = 'find'  # find.json; with it issues.csv, issues.html and probs.npy
TABLE = 'table'  # sweep.json; with it the tables and pictures of a sweep or a cross-validation
DECODED = 'decoded'  # entries of the cache, which are decoded anew where `decode` changed what it returns

WRITTEN = {RUN: 1, CHECKPOINT: 1, WEIGHTS: 1, FIND: 1, TABLE: 1, DECODED: 2}
OLDEST = {RUN: 0, CHECKPOINT: 0, WEIGHTS: 0, FIND: 1, TABLE: 1, DECODED: 2}


def stamped(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the content of a file with its format number."""
  return {'format': WRITTEN[kind], **value}


def read(kind: str, value: Mapping[str, Any], where: Any) -> dict[str, Any]:
  """Returns the content of a file without its format number.

  Args:
    kind: of the file. value: its content. where: what a message calls it.
  Raises:
    UserError: another format than those that this version reads, or no JSON object.
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
  """Writes a JSON file with its format number and seal; raises like `writer.write_bytes`."""
  content = stamped(kind, json.loads(storage.json_text(value)))
  storage.write_json(path, {**content, 'seal': digest(content)})


def read_json(kind: str, path: Path) -> dict[str, Any]:
  """Reads a JSON file, without its format number and seal. What was written before there were seals has none to break.

  Raises:
    UserError: naming the file, if it is missing, damaged, changed or of another format.
  """
  content = storage.read_json(path)
  found = read(kind, content, path)
  seal = found.pop('seal', None)
  if seal is not None and seal != digest({k: v for k, v in content.items() if k != 'seal'}):
    raise UserError(
      f'{path}: its content is not what was written (its seal does not fit): it was damaged or edited. Bring '
      'the former back, or use another folder.'
    )
  return found


def digest(value: Any) -> str:
  """Returns the sha256 (hex) of JSON data, whatever the order of its keys."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
