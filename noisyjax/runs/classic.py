"""Runs of classic estimators, which one call fits. See `models.protocol.Fitted`."""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.build import build_model
from noisyjax.config.plan import Plan
from noisyjax.data.prepare import Audit, Prepared
from noisyjax.data.training import TrainData
from noisyjax.estimate import scoring
from noisyjax.models.protocol import Fitted
from noisyjax.runs import result
from noisyjax.runs.audit import Auditor
from noisyjax.system import formats, seal, storage
from noisyjax.system.errors import UserError


def fitted(config: ConfigDict, data: TrainData) -> tuple[Fitted, dict[str, np.ndarray]]:
  """Fits the model that a config names to the given labels.

  Args:
    config: config of the run.
    data: training rows.

  Returns:
    The model, and the arrays that its `fit` returned.
  """
  model = build_model(config, data.classes)
  return model, model.fit(np.asarray(data.images), data.given)


def fit(plan: Plan, folder: Path, prepared: Prepared, audit: Audit) -> dict:
  """Fits a classic estimator. It writes the files of a run with one epoch, and its weights to weights.npz.

  Args:
    plan: plan of the run.
    folder: folder of the run.
    prepared: data of the run.
    audit: data that score the run.

  Returns:
    The content of result.json, see `result.summarized`.
  """
  start = time.monotonic()
  data = prepared.train
  model, state = fitted(plan.config, data)
  seconds = time.monotonic() - start
  predict = lambda images: model.predict_proba(state, np.asarray(images))
  scores = scoring.scores(predict(data.images), data.given)
  record = {'epoch': 1, 'phase': 0, 'strategy': 'naive', 'phase_epoch': 1, 'step': 1, 'seconds': seconds, **scores}
  if prepared.validation is not None:
    found = scoring.scores(predict(prepared.validation[0]), prepared.validation[1])
    record |= {'val_loss': found['loss'], 'val_accuracy': found['accuracy']}
  for name in ('metrics.jsonl', 'audit.jsonl'):
    storage.truncate(folder / name, 0)
  storage.JsonLines(folder / 'metrics.jsonl').append(record)
  Auditor(folder, audit, prepared).epoch(1, lambda images: (predict(images), None))
  sealed = result.write_model(
    folder,
    plan,
    prepared,
    {
      'classes': list(prepared.classes),
      'shape': list(data.images.shape[1:]),
      'networks': 1,
      'strategy': 'naive',
      'selected': 'last',
      'origin': prepared.origin and dataclasses.asdict(prepared.origin),
    },
  )
  save_weights(folder / 'weights.npz', state, sealed)
  extra = {
    'networks': 1,
    'epochs': 1,
    'steps': 1,
    'images_seen': len(data.given),
    'passes': float(len(data.given)),
    'parameters': sum(a.size for k, a in state.items() if k != 'classes'),
    'best_epoch': 1,
  }
  return result.summarized(plan, folder, prepared, audit, predict, seconds, 'last', extra, {})


def save_weights(path: Path, state: dict[str, np.ndarray], facts: dict) -> None:
  """Writes the arrays of a fitted estimator to an npz file.

  Args:
    path: path of the file.
    state: arrays by name.
    facts: what the weights belong to, JSON-ready; sealed with the arrays.
  """
  sealed = np.array(json.dumps(seal.sealed(formats.WEIGHTS, state, facts)))
  storage.write_npz(path, {'seal': sealed, **state})


def load_weights(path: Path) -> tuple[dict[str, np.ndarray], dict]:
  """Reads the arrays of a fitted estimator.

  Returns:
    The arrays by name, and the facts that were sealed with them; {} for files of format 0, which have no seal.

  Raises:
    UserError: the file is missing, damaged, changed or of another format.
  """
  state = storage.read_npz(path)
  if 'seal' not in state:
    return state, {}
  try:
    return state, seal.opened(formats.WEIGHTS, state, json.loads(str(state.pop('seal'))), path)
  except ValueError as error:
    raise UserError(f'{path}: no readable weights: {error}') from error
