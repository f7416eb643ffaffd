"""The content of result.json, and model.json."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from noisyjax.config.build import find_weights
from noisyjax.config.plan import Plan
from noisyjax.data import features
from noisyjax.data.prepare import Audit, Prepared
from noisyjax.models.weights import class_names
from noisyjax.models.weights.pretrained import Weights
from noisyjax.runs import identity, samples
from noisyjax.runs.audit import Auditor
from noisyjax.system import formats, memory, processes, storage
from noisyjax.system.errors import listed


def write_model(folder: Path, plan: Plan, prepared: Prepared, facts: dict) -> dict[str, str]:
  """Writes model.json.

  Args:
    folder: folder of the run.
    plan: plan of the run.
    prepared: data of the run.
    facts: content of the file.

  Returns:
    Digests of config, data and model, to be sealed with the weights.
  """
  path = folder / 'model.json'
  formats.write_json(formats.RUN, path, facts)
  processes.barrier('read the model')
  return {
    'config': formats.digest(identity.plain(plan)),
    'data': prepared.record['fingerprint'],
    'model': formats.digest(formats.read_json(formats.RUN, path)),
  }


def summarized(
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
  """Scores a trained run, writes samples.parquet and audit.parquet, and returns the content of result.json.

  Args:
    plan: plan of the run.
    folder: folder of the run.
    prepared: data of the run.
    audit: data that score the run.
    predict: function from images uint8 [n, H, W, C] to probabilities [n, C] by the selected networks.
    seconds: training time.
    selected: "best" or "last", the epoch of the selected networks.
    extra: more entries of the result.
    dynamics: name → [N], columns of the training rows, see `samples.dynamics_table`.
    since: first phase whose epochs may be selected.
  """
  memory.release()
  config, data = plan.config, prepared.train
  train_probs = predict(data.images)
  val_probs = predict(prepared.validation[0]) if prepared.validation is not None else None
  samples.write(folder, prepared, train_probs, val_probs, dynamics)
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
    'peak_memory_mb': round(memory.peak() / 2**20),
    'peak_device_memory_mb': round(_device_peak() / 2**20) or None,
    'device': jax.devices()[0].device_kind,
    'knowledge': knowledge(plan, prepared),
    'selected': selected,
    'validation': validation,
    'noise': prepared.record['noise'],
    'data': {k: v for k, v in prepared.record.items() if k != 'noise'},
    'audit': Auditor(folder, audit, prepared).result(metrics, test_probs, train_probs, val_probs, dynamics),
  }


def _device_peak() -> int:
  """Returns the peak memory of this process's first device in bytes; 0 if it does not report it (CPU)."""
  return (jax.local_devices()[0].memory_stats() or {}).get('peak_bytes_in_use', 0)


def knowledge(plan: Plan, prepared: Prepared) -> list[str]:
  """Returns what the method was told beyond the given labels: rows verified, noise rate, verified validation labels.

  That is: what its strategies need, what its phases read, what the config says that its values were chosen by
  (`told`), and what data its networks or features were pretrained on, with the classes that those data share with ours.
  """
  told = set(plan.config.told)
  told |= pretraining(
    [*(weights.data for weights in pretrained_weights(plan)), prepared.data.pretrained], prepared.classes
  )
  for phase in plan.phases:
    needs, own = phase.method.needs, phase.config
    for what, told_as in (('rate', 'noise rate'), ('matrix', 'transition matrix')):
      if what in needs:
        told.add(told_as)
    if 'verified' in needs or own.labels in ('verified', 'both') or own.rows in ('trusted', 'untrusted'):
      told.add(f'{prepared.record["rows"]["trusted"]} verified labels')
  if prepared.validation is not None and plan.config.data.val_labels == 'verified':
    told.add(f'{len(prepared.val_rows)} verified validation labels')
  return sorted(told)


def pretraining(sources: Iterable[str], classes: Sequence[str]) -> set[str]:
  """Returns what pretrained networks bring, in words: what they were trained on, and which classes they know of it.

  Args:
    sources: names of what networks were trained on before, such as "ImageNet-1k"; '' = nothing.
    classes: class names of the data.
  """
  told = set()
  for data in {*sources} - {''}:
    told.add(f'pretrained: {data}')
    if known := class_names.learnt(data, classes):
      told.add(f'{data} has classes of these names: {listed(known)}')
  return told


def pretrained_weights(plan: Plan) -> list[Weights]:
  """Returns the weights that a run begins from, and those of its features."""
  found = [find_weights(phase.config) for phase in plan.phases]
  if plan.config.data.features:
    found.append(features.extractor(plan.config.data.features).weights)
  return list(dict.fromkeys(weights for weights in found if weights))
