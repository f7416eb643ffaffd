"""The config, data and code that label issues were found with: find.json, written at the start and again at the end.

find.parquet beside it has a row an image (name, id, given label), by which a later call tells what became of the data.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import difference, resolved
from noisyjax.data.dataset import Dataset
from noisyjax.runs import identity
from noisyjax.system import formats, storage, version
from noisyjax.system.log import log

RESULTS = ('issues.csv', 'issues.html', 'probs.npy', 'find.parquet')


def today(config: ConfigDict, folds: int, probs: np.ndarray | None, data: Dataset) -> dict[str, Any]:
  """Returns what a call would make its issues of; the truth is no part of it, since only the audit reads it."""
  config = config.copy_and_resolve_references()
  config.data.truth = ''
  own = '' if probs is None else hashlib.sha256(np.ascontiguousarray(probs).tobytes()).hexdigest()
  settings = json.loads(json.dumps(resolved(Plan.of(config)))) | {'folds': folds, 'probs': own}
  return {'config': settings, 'data': data.fingerprint, 'classes': list(data.classes), **version.versions()}


def begin(folder: Path, here: Mapping[str, Any], data: Dataset, rerun: bool) -> np.ndarray | None:
  """Returns the probabilities of a folder that is finished; otherwise begins: nothing of an earlier call stays.

  Args:
    folder: held by the caller. here: `today`. data: as loaded. rerun: removes issues of anything else than `here`.
  Returns:
    float32 [N, C], or None where they are to be made.
  Raises:
    Stale: the folder holds issues of another config or other data, or of unknown ones, without `rerun`.
  """
  try:
    probs = _finished(folder, here, data, rerun)
  except identity.Stale:
    if not rerun:
      raise
    probs = None
  if probs is None:
    for name in RESULTS:
      storage.remove(folder / name)
    formats.write_json(formats.FIND, folder / 'find.json', {'finished': False, **here})
  return probs


def end(folder: Path, here: Mapping[str, Any], probs: np.ndarray, data: Dataset) -> None:
  """Writes the probabilities, the rows, and that all is there; the last thing that a call writes."""
  storage.write_bytes(folder / 'probs.npy', _npy(probs))
  storage.write_parquet(folder / 'find.parquet', _rows(data), formats.stamped(formats.FIND, {}))
  done = {'finished': True, **here, 'sha256': hashlib.sha256(_npy(probs)).hexdigest()}
  formats.write_json(formats.FIND, folder / 'find.json', done)


def _finished(folder: Path, here: Mapping[str, Any], data: Dataset, rerun: bool) -> np.ndarray | None:
  path = folder / 'find.json'
  if not path.exists():
    if found := [name for name in RESULTS if (folder / name).exists()]:
      raise identity.stale(
        folder, f'holds {found[0]}, but no find.json that says with which config and data it was found'
      )
    return None
  there = formats.read_json(formats.FIND, path)
  if not there['finished']:
    return None
  if lines := difference(there['config'], here['config']):
    raise identity.stale(folder, 'holds issues found with another config', lines)
  if there['data'] != here['data']:
    raise identity.stale(folder, 'holds issues of other data', _difference(folder, there, data))
  content = storage.read_bytes(folder / 'probs.npy')
  if hashlib.sha256(content).hexdigest() != there['sha256']:
    raise identity.stale(folder, 'its probs.npy is not what was written')
  if changed := version.code_difference(there, here):
    if rerun:
      raise identity.stale(folder, 'was found by other code', changed)
    log.warning('%s: was found by other code (%s); --rerun finds anew.', folder, '; '.join(changed))
  return np.load(io.BytesIO(content), allow_pickle=False)


def _difference(folder: Path, there: Mapping[str, Any], data: Dataset) -> list[str]:
  lines = identity.class_difference(there['classes'], data.classes)
  old = identity.table(folder / 'find.parquet')
  if old is not None:
    titles = {'id': 'images', 'given': 'given labels'}
    lines += identity.row_difference(old, _rows(data), titles, 'images')
  return lines or ['images or labels, or their order, differ']


def _rows(data: Dataset) -> dict[str, np.ndarray]:
  names = np.array([*map(str, data.classes), ''])  # -1 is the last
  return {'row': np.arange(len(data.ids)), 'name': data.names, 'id': data.ids, 'given': names[data.given]}


def _npy(array: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  np.save(buffer, array)
  return buffer.getvalue()
