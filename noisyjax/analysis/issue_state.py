"""find.json: the config, data and code that label issues were found with, written at the start and again at the end.

find.parquet in the same folder has a row for each image (name, id, given label), so that a later call can tell which
rows of the data changed.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.plan import Plan
from noisyjax.config.resolved import difference, resolved
from noisyjax.data.dataset import Dataset
from noisyjax.runs import identity
from noisyjax.system import formats, parquet, storage, version
from noisyjax.system.log import log

RESULTS = ('issues.csv', 'issues.html', 'probs.npy', 'find.parquet')


def today(config: ConfigDict, folds: int, probs: np.ndarray | None, data: Dataset) -> dict[str, Any]:
  """Returns the inputs of a call, as find.json records them; without the truth, which only the audit reads.

  Args:
    config: config of the training and the data.
    folds: number of folds.
    probs: the user's own probabilities [N, C], or None.
    data: the data set.
  """
  config = config.copy_and_resolve_references()
  config.data.truth = ''
  own = '' if probs is None else hashlib.sha256(np.ascontiguousarray(probs).tobytes()).hexdigest()
  settings = json.loads(json.dumps(resolved(Plan.of(config)))) | {'folds': folds, 'probs': own}
  return {'config': settings, 'data': data.fingerprint, 'classes': list(data.classes), **version.versions()}


def begin(folder: Path, here: Mapping[str, Any], data: Dataset, rerun: bool) -> np.ndarray | None:
  """Returns the probabilities of a finished folder; otherwise removes all earlier results and writes find.json.

  Args:
    folder: folder of the results, which the caller has locked.
    here: inputs of this call, from `today`.
    data: the data set.
    rerun: whether to remove results of other inputs than `here`.

  Returns:
    float32 [N, C], or None if the folder is not finished.

  Raises:
    Stale: the folder holds issues of other or unknown data or config, and `rerun` is not set.
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


def end(folder: Path, here: Mapping[str, Any], probs: np.ndarray, data: Dataset, told: Sequence[str] = ()) -> None:
  """Writes the probabilities and the rows, and then marks the folder as finished.

  Args:
    folder: folder of the results.
    here: inputs of this call, from `today`.
    probs: float32 [N, C].
    data: the data set.
    told: what the probabilities come from beside the labels, see `LabelIssues.told`.
  """
  content = storage.npy(probs)
  storage.write_bytes(folder / 'probs.npy', content)
  parquet.write(folder / 'find.parquet', _rows(data), formats.stamped(formats.FIND, {}))
  done = {'finished': True, **here, 'told': list(told), 'sha256': hashlib.sha256(content).hexdigest()}
  formats.write_json(formats.FIND, folder / 'find.json', done)


def _finished(folder: Path, here: Mapping[str, Any], data: Dataset, rerun: bool) -> np.ndarray | None:
  """Returns the probabilities of a finished folder, or None; raises Stale if the folder has other inputs."""
  path = folder / 'find.json'
  if not path.exists():
    if found := [name for name in RESULTS if (folder / name).exists()]:
      raise identity.stale(
        folder, f'holds {found[0]}, but no find.json, which records the config and data it was found with'
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
    raise identity.stale(folder, 'its probs.npy was changed or damaged after it was written')
  if changed := version.code_difference(there, here):
    if rerun:
      raise identity.stale(folder, 'was found by other code', changed)
    log.warning('%s: the issues were found by other code (%s); --rerun finds them again.', folder, '; '.join(changed))
  return np.load(io.BytesIO(content), allow_pickle=False)


def _difference(folder: Path, there: Mapping[str, Any], data: Dataset) -> list[str]:
  """Returns lines that describe how the data differ from those that find.json records."""
  lines = identity.class_difference(there['classes'], data.classes)
  old = identity.table(folder / 'find.parquet')
  if old is not None:
    titles = {'id': 'images', 'given': 'given labels'}
    lines += identity.row_difference(old, _rows(data), titles, 'images')
  return lines or ['images or labels, or their order, differ']


def _rows(data: Dataset) -> dict[str, np.ndarray]:
  """Returns the columns of find.parquet."""
  names = np.array([*map(str, data.classes), ''])  # index -1 (unlabeled) is the last entry
  return {'row': np.arange(len(data.ids)), 'name': data.names, 'id': data.ids, 'given': names[data.given]}
