"""Runs of networks, which gradient steps train."""

import dataclasses
from pathlib import Path

import jax

from noisyjax.config.plan import Plan
from noisyjax.data.prepare import Audit, Prepared
from noisyjax.engine import score, train
from noisyjax.engine.phase import chosen_from
from noisyjax.engine.together import Steps
from noisyjax.runs import checkpoint, result, samples
from noisyjax.runs.audit import Auditor
from noisyjax.runs.recorder import Recorder
from noisyjax.system import interrupt, processes


def fit(plan: Plan, folder: Path, prepared: Prepared, audit: Audit, replicas: int = 1) -> Steps[dict]:
  """Trains the networks, or continues from the newest checkpoint, and writes their weights.

  Args:
    plan: plan of the run.
    folder: folder of the run.
    prepared: data of the run.
    audit: data that score the run.
    replicas: maximum number of runs that train side by side; recorded, because they share their seconds.

  Returns:
    The content of result.json, see `result.summarized`.
  """
  config, data = plan.config, prepared.train
  phases = plan.engine_phases(data)
  root = jax.random.key(config.seed)
  recorder = Recorder(plan, folder, prepared, Auditor(folder, audit, prepared), phases, replicas > 1)
  with interrupt.watched():
    resume = recorder.resume(data, root)
    with recorder:
      state, position = yield from train.steps(phases, data, prepared.validation, root, recorder, resume)
  seconds = recorder.seconds()
  processes.barrier('read the logs')
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
  sealed = result.write_model(folder, plan, prepared, facts)
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
  if replicas > 1:
    extra['replicas'] = replicas
  if pretrained := result.pretrained_weights(plan):
    extra['pretrained'] = [dataclasses.asdict(weights) for weights in pretrained]
  table, selected = samples.dynamics_table(state, phase.rows), 'best' if best else 'last'
  del state  # what it keeps of each row is in the table
  return result.summarized(plan, folder, prepared, audit, predict, seconds, selected, extra, table, chosen_from(phases))
