"""One run: a workdir, its lock, fit, evaluation and result; finished runs stay, interrupted ones go on."""

import contextlib
import dataclasses
import functools
import io
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.build import build_model, find_model, find_weights
from noisyjax.config.check import plan_of
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import resolved
from noisyjax.data import features
from noisyjax.data.prepare import Audit, Prepared, prepare
from noisyjax.engine import score, train
from noisyjax.engine.phase import chosen_from
from noisyjax.engine.state import TrainState
from noisyjax.estimate import scoring
from noisyjax.models.weights.pretrained import Weights
from noisyjax.reports import report
from noisyjax.runs import checkpoint, identity
from noisyjax.runs.audit import Auditor
from noisyjax.runs.recorder import Recorder
from noisyjax.system import formats, interrupt, lock, seal, storage, version
from noisyjax.system.log import log

Load = Callable[[ConfigDict], tuple[Prepared, Audit]]


def run(
  config: ConfigDict | Plan,
  workdir: str | os.PathLike,
  command: list[str] | None = None,
  *,
  rerun: bool = False,
  load: Load | None = None,
) -> dict:
  """Trains one run in `workdir` and returns its result; returns the old result at once if it is finished.

  Args:
    config: as `configs/base.py` builds it, or its plan, checked.
    workdir: made if missing. command: what to record as the command line.
    rerun: removes what lies there of another config, of other data or (if finished) by other code, and begins anew.
    load: `prepare`, or what remembers what it returned.
  Raises:
    Stale: a run of another config or of other data in `workdir`, without `rerun`.
    UserError: bad config or data; a workdir in use by another process; a loss that is NaN.
    Stopped: after Ctrl-C or SIGTERM while it trains, with everything saved.
  """
  plan = config if isinstance(config, Plan) else plan_of(config)
  config = plan.config
  folder = Path(workdir)
  with lock.held(folder):
    with contextlib.suppress(OSError):  # the peak of this run, not of the runs before it in this process (Linux)
      Path('/proc/self/clear_refs').write_text('5')
    loaded = functools.cache(functools.partial(load or prepare, config))
    environment = _environment(command)
    try:
      result = finished(plan, folder, lambda config: loaded())
      changed = _other_code(folder, environment) if result else []
      if changed and rerun:
        raise identity.stale(folder, 'was run by other code')
    except identity.Stale:
      if not rerun:
        raise
      prepared, audit = loaded()  # data that cannot be read spoil no run
      _clear(folder)
      result = None
    if result:
      return _believed(folder, result, changed)
    prepared, audit = loaded()
    for note in prepared.notes:
      log.info('data: %s', note)
    environment['data'] = identity.parts(prepared)
    if _traces(folder):  # a resume: what the earlier attempts ran under is part of the record
      before = formats.read_json(formats.RUN, folder / 'environment.json')
      environment['earlier'] = [*before.pop('earlier', []), before]
    formats.write_json(formats.RUN, folder / 'environment.json', environment)
    formats.write_json(formats.RUN, folder / 'config.json', _plain(plan))
    fit = _fit_networks if hasattr(find_model(config.model.name), 'apply') else _fit_at_once
    result = fit(plan, folder, prepared, audit) | {'code': version.code(environment), 'files': _digests(folder)}
    formats.write_json(formats.RUN, folder / 'result.json', result)
    report.write_report(folder)
    return formats.read_json(formats.RUN, folder / 'result.json')


def finished(plan: Plan, folder: Path, load: Load) -> dict | None:
  """Returns the result of a finished run, None of an unfinished one; config and data are compared in both cases.

  Args:
    plan: of today. folder: the workdir. load: config → its data; only called where a run lies there.
  Raises:
    Stale: a run of another config, or of other data.
  """
  if not _traces(folder):
    return None
  identity.check_config(folder, _plain(plan))
  identity.check_data(folder, *load(plan.config))
  path = folder / 'result.json'
  return formats.read_json(formats.RUN, path) if path.exists() else None


def _plain(plan: Plan) -> dict:
  return json.loads(json.dumps(resolved(plan)))


def _believed(folder: Path, result: dict, changed: list[str]) -> dict:
  """Returns the result of a finished run, and says so."""
  log.info('%s: already finished.', folder)
  if changed:
    log.warning('%s: was run by other code (%s); --rerun runs it anew.', folder, '; '.join(changed))
  if not (folder / 'report.html').exists():  # killed between the two
    report.write_report(folder)
  return result


def _other_code(folder: Path, environment: dict) -> list[str]:
  path = folder / 'environment.json'
  return version.code_difference(formats.read_json(formats.RUN, path), environment) if path.exists() else []


def _traces(folder: Path) -> list[Path]:
  """Returns the files that show that a run was begun here; one that was refused at once left none."""
  traces = ('result.json', 'metrics.jsonl', 'checkpoints/*')
  found = (path for trace in traces for path in folder.glob(trace))
  return [path for path in found if path.is_dir() or path.stat().st_size]


# What a run writes: first what makes it finished, last what says of which config the rest is.
FILES = (
  'result.json',
  'checkpoints',
  'metrics.jsonl',
  'audit.jsonl',
  'weights',
  'weights.npz',
  'model.json',
  'report.html',
  'samples.parquet',
  'audit.parquet',
  'tensorboard',
  'environment.json',
  'config.json',
)


# What result.json seals, since it has no room for a seal of its own.
SEALED = ('metrics.jsonl', 'audit.jsonl', 'samples.parquet', 'audit.parquet')


def _digests(folder: Path) -> dict[str, str]:
  return {name: storage.sha256(folder / name) for name in SEALED if (folder / name).exists()}


def _clear(folder: Path) -> None:
  """Removes a run; a kill in between leaves an unfinished one, of the config it was of."""
  for name in FILES:
    storage.remove(folder / name)


def _fit_networks(plan: Plan, folder: Path, prepared: Prepared, audit: Audit) -> dict:
  """Trains by gradient: `train.fit` under a `Recorder`."""
  config, data = plan.config, prepared.train
  phases = plan.engine_phases(data)
  root = jax.random.key(config.seed)
  recorder = Recorder(plan, folder, prepared, Auditor(folder, audit, prepared), phases)
  with interrupt.watched():
    resume = recorder.resume(data, root)
    with recorder:
      state, position = train.fit(phases, data, prepared.validation, root, recorder, resume)
  seconds = recorder.seconds()
  phase = phases[-1]
  best = config.select == 'best' and prepared.validation is not None
  chosen = state.best if best else state.current
  predict = lambda images: score.predict(phase.spec.net, phase.strategy, chosen, images, phase.chunk)[0]
  facts = {
    'classes': list(prepared.classes),
    'shape': list(data.images.shape[1:]),
    'mean': phase.spec.net.mean,
    'std': phase.spec.net.std,
    'networks': phase.strategy.networks,
    'strategy': phase.name,
    'selected': 'best' if best else 'last',
    'origin': prepared.origin and dataclasses.asdict(prepared.origin),
  }
  if plan.config.data.features:
    facts['features_of'] = list(prepared.data.images.shape[1:])
  if phase.spec.net.size:
    facts['size'] = phase.spec.net.size
  sealed = _write_model(folder, plan, prepared, facts)
  checkpoint.save_weights(folder / 'weights' / 'last', state.current, sealed)
  if prepared.validation is not None:
    checkpoint.save_weights(folder / 'weights' / 'best', state.best, sealed)
  extra = {
    'networks': phase.strategy.networks,
    'epochs': int(state.epoch),
    'steps': int(state.step),
    'batch_size': phase.spec.batch_size,  # of the last phase
    'conv': getattr(phase.spec.net.model, 'conv', None),  # the kind that "auto" became
    'images_seen': position.images,
    'passes': position.passes,
    'parameters': sum(a.size for a in jax.tree.leaves(state.params['net'])),
    'best_epoch': int(state.control.best_epoch) if prepared.validation is not None else None,
  }
  if pretrained := _pretrained(plan):
    extra['pretrained'] = [dataclasses.asdict(weights) for weights in pretrained]
  table, selected = _row_table(state, phase.rows), 'best' if best else 'last'
  return _result(plan, folder, prepared, audit, predict, seconds, selected, extra, table, chosen_from(phases))


def _fit_at_once(plan: Plan, folder: Path, prepared: Prepared, audit: Audit) -> dict:
  """Fits a classic estimator behind the same files: one epoch, weights in an npz."""
  start = time.monotonic()
  data = prepared.train
  model = build_model(plan.config, data.classes)
  state = model.fit(np.asarray(data.images), data.given)
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
  sealed = _write_model(
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
  buffer = io.BytesIO()
  np.savez(buffer, seal=np.array(json.dumps(seal.sealed(formats.WEIGHTS, state, sealed))), **state)
  storage.write_bytes(folder / 'weights.npz', buffer.getvalue())
  extra = {
    'networks': 1,
    'epochs': 1,
    'steps': 1,
    'images_seen': len(data.given),
    'passes': float(len(data.given)),
    'parameters': sum(a.size for k, a in state.items() if k != 'classes'),
    'best_epoch': 1,
  }
  return _result(plan, folder, prepared, audit, predict, seconds, 'last', extra, {})


def _write_model(folder: Path, plan: Plan, prepared: Prepared, facts: dict) -> dict[str, str]:
  """Writes model.json, and returns what the weights beside it are of."""
  path = folder / 'model.json'
  formats.write_json(formats.RUN, path, facts)
  return {
    'config': formats.digest(_plain(plan)),
    'data': prepared.record['fingerprint'],
    'model': formats.digest(formats.read_json(formats.RUN, path)),
  }


def _row_table(state: TrainState, rows: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the dynamics of each training row, averaged over networks, and its last target: columns [N].

  A row that the last phase may not use (`rows` [N]) was neither chosen nor left out: NaN.
  """
  d = jax.tree.map(np.asarray, state.dynamics)
  visits = np.maximum(d.visits.sum(0), 1)
  return {
    'label': np.asarray(state.targets.label),
    'weight': np.asarray(state.targets.weight),
    'count': d.visits.sum(0),
    'mean_loss': d.loss.sum(0) / visits,
    'mean_confidence': d.confidence.sum(0) / visits,
    'mean_margin': d.margin.sum(0) / visits,
    'correct': d.correct.sum(0),
    'forgotten': d.forgotten.sum(0),
    'chosen': np.where(rows, d.chosen.mean(0), np.nan),
  }


def _result(
  plan: Plan,
  folder: Path,
  prepared: Prepared,
  audit: Audit,
  predict: Callable[[Any], np.ndarray],
  seconds: float,
  selected: str,
  extra: dict[str, Any],
  dynamics: dict[str, np.ndarray],
  since: int = 0,
) -> dict[str, Any]:
  """Writes samples.parquet and returns what result.json holds; epochs are chosen from phase `since` on."""
  config, data = plan.config, prepared.train
  train_probs = predict(data.images)
  val_probs = predict(prepared.validation[0]) if prepared.validation is not None else None
  _write_samples(folder, prepared, train_probs, val_probs, dynamics)
  metrics = [m for m in storage.read_lines(folder / 'metrics.jsonl') if m['phase'] >= since]
  validation = None
  if prepared.validation is not None:
    values = [m['val_accuracy'] for m in metrics]
    validation = {
      'labels': config.data.val_labels,
      'rows': len(prepared.val_rows),
      'last': values[-1],
      'best': max(values),
    }
  test_probs = predict(audit.test[0]) if audit.test is not None else None
  return {
    'strategy': config.strategy.name,
    'model': plan.last.config.model.name,
    'seed': config.seed,
    **extra,
    'seconds': seconds,
    'peak_memory_mb': round(peak_memory() / 2**20),
    'peak_device_memory_mb': round(_device_peak() / 2**20) or None,
    'device': jax.devices()[0].device_kind,
    'knowledge': knowledge(plan, prepared),
    'selected': selected,
    'validation': validation,
    'noise': prepared.record['noise'],
    'data': {k: v for k, v in prepared.record.items() if k != 'noise'},
    'audit': Auditor(folder, audit, prepared).result(metrics, test_probs, train_probs, val_probs, dynamics),
  }


def peak_memory() -> int:
  """Returns the most bytes of memory that this process held."""
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _device_peak() -> int:
  """Returns the most bytes the accelerator held in this process; 0 where it does not say (CPU)."""
  return (jax.devices()[0].memory_stats() or {}).get('peak_bytes_in_use', 0)


def _write_samples(
  folder: Path,
  prepared: Prepared,
  train_probs: np.ndarray,
  val_probs: np.ndarray | None,
  dynamics: dict[str, np.ndarray],
) -> None:
  """One row a training or validation image: labels, prediction, and what training saw of it. No truth."""
  data = prepared.data
  rows = np.concatenate([prepared.rows, prepared.val_rows])
  probs = train_probs if val_probs is None else np.concatenate([train_probs, val_probs])
  held = len(prepared.val_rows)
  given = data.given[rows]
  own = np.take_along_axis(probs, np.maximum(given, 0)[:, None], 1)[:, 0]
  columns = {
    'row': rows,
    'id': data.ids[rows],
    'name': data.names[rows],
    'split': np.concatenate([np.full(len(prepared.rows), 'train'), np.full(held, 'val')]),
    'given': given,
    'verified': data.verified[rows],
    'predicted': probs.argmax(1).astype(np.int32),
    'confidence': probs.max(1).astype(np.float32),
    'loss': np.where(given >= 0, -np.log(np.maximum(own, 1e-12)), np.nan).astype(np.float32),
    'margin': scoring.margin(probs, given).astype(np.float32),
  }
  for name, values in dynamics.items():
    unseen = np.full(held, -1 if values.dtype.kind == 'i' else np.nan, values.dtype)
    columns[name] = np.concatenate([values, unseen])
  notes = formats.stamped(formats.RUN, {'fingerprint': prepared.record['fingerprint']})
  storage.write_parquet(folder / 'samples.parquet', columns, notes)


def knowledge(plan: Plan, prepared: Prepared) -> list[str]:
  """Returns what the method was told beyond the given labels: rows verified, noise rate, verified validation labels.

  What its strategies need, what its phases read, and what the config says its numbers were chosen by (`told`).
  """
  told = set(plan.config.told) | {f'pretrained: {weights.data}' for weights in _pretrained(plan)}
  for phase in plan.phases:
    needs, own = phase.method.needs, phase.config
    for what, told_as in (('rate', 'noise rate'), ('matrix', 'transition matrix')):
      if what in needs:
        told.add(told_as)
    if 'verified' in needs or own.labels == 'verified' or own.rows in ('trusted', 'untrusted'):
      told.add(f'{prepared.record["rows"]["trusted"]} verified labels')
  if prepared.validation is not None and plan.config.data.val_labels == 'verified':
    told.add(f'{len(prepared.val_rows)} verified validation labels')
  return sorted(told)


def _pretrained(plan: Plan) -> list[Weights]:
  """Returns the weights that a run begins from, and those of its features."""
  found = [find_weights(phase.config) for phase in plan.phases]
  if plan.config.data.features:
    found.append(features.extractor(plan.config.data.features).weights)
  return list(dict.fromkeys(weights for weights in found if weights))


def _environment(command: list[str] | None) -> dict:
  """Returns what else decided the run: command, git revision, versions, device."""
  return {
    'command': sys.argv if command is None else command,
    **version.versions(),
    'python': platform.python_version(),
    'device': [d.device_kind for d in jax.devices()],
    'backend': jax.default_backend(),
    'cores': os.cpu_count(),
  }
