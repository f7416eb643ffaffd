"""The plan of a run as text: config, data, phases, and estimates of time and memory.

The data are loaded and split as in a run. Nothing is trained and no file is written.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from noisyjax.config import defaults
from noisyjax.config.build import find_model
from noisyjax.config.check import plan_of
from noisyjax.config.flat import flat
from noisyjax.config.plan import Plan
from noisyjax.config.resolved import resolved
from noisyjax.data import features
from noisyjax.data.images import Images
from noisyjax.data.prepare import Audit, Prepared, prepare
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, gather, passes, step
from noisyjax.engine.phase import Phase, enter, epoch_steps
from noisyjax.engine.spec import run_keys
from noisyjax.engine.state import TrainState
from noisyjax.models.protocol import is_trained
from noisyjax.reports import formatting
from noisyjax.system import memory, progress

EFFICIENCY = 0.7  # FLOP/s of a training step, as a fraction of those of a product of two large matrices
CALL = 2e-3  # overhead of a step in seconds; with small images it is most of the step's time
WROTE = 'Nothing was written.'
MEASURED = 2.0  # minimum duration of each measurement of a timed dry run, in seconds


@dataclasses.dataclass(frozen=True)
class _Cost:
  """The estimated cost of a phase.

  Attributes:
    steps: steps per epoch.
    passes: images through a network in the whole phase: 1 for a forward pass, 3 for forward and backward.
    seconds: duration of the whole phase, without compilation.
    bytes: peak memory of a step, including its arguments (state and images).
    state: memory of the state, in bytes.
  """

  steps: int
  passes: float
  seconds: float
  bytes: int
  state: int


def text(config: ConfigDict, timed: bool = False) -> str:
  """Returns the plan of a run as text; see `estimated`."""
  return estimated(config, timed).text


class Estimated(NamedTuple):
  """The plan of a run.

  Attributes:
    text: the plan.
    seconds: estimated duration, without compilation; 0 for a model that is fitted at once.
    passes: images through a network, see `_Cost`; `benchmarks/tuned.py` gives methods equal ones.
  """

  text: str
  seconds: float
  passes: float


def estimated(config: ConfigDict, timed: bool = False) -> Estimated:
  """Returns the plan of a run and its duration.

  Args:
    config: config of the run.
    timed: whether to measure the time on a few compiled steps of each phase instead of estimating it.

  Raises:
    UserError: the config or the data are invalid, so the run could not start.
  """
  plan = plan_of(config)
  config = plan.config.copy_and_resolve_references()
  config.data.cache = False  # a dry run writes no cache
  prepared, audit = prepare(config, extract=features.blank)
  lines = [*_config(plan), _rows(prepared, audit), *(f'data: {note}' for note in prepared.notes)]
  if not is_trained(find_model(config.model.name)):
    return Estimated('\n'.join([*lines, f'model.name: {config.model.name!r} is fitted at once.', WROTE]), 0.0, 0.0)
  phases = plan.engine_phases(prepared.train)
  if not timed:  # XLA does not count the operations of foreign calls (oneDNN)
    phases = [dataclasses.replace(p, spec=dataclasses.replace(p.spec, net=p.spec.net.plain)) for p in phases]
  looked = sum(len(part[0]) for part in (prepared.validation, audit.test) if part is not None)
  rate = None if timed else EFFICIENCY * _rate(config.model.dtype)
  state, costs, root = None, [], jax.random.key(config.seed)
  for number, phase in enumerate(phases):
    previous_phase = phases[number - 1] if number else None
    state = enter(phase, number, prepared.train, None, root, state, previous_phase, template=True)
    costs.append(_cost(phase, state, prepared.train, run_keys(root), looked, rate))
  how = 'measured on a few steps' if timed else 'by the operations of a step; --dry_run=timed runs a few'
  seconds = sum(c.seconds for c in costs)
  if config.data.features:
    lines.append(f'before: all images pass once through {config.data.features}, unless in the cache; not in the time')
  lines += [
    '',
    _phases(phases, costs, prepared.train),
    '',
    f'time: about {progress.duration(seconds)} on {jax.devices()[0].device_kind}, compilation apart ({how})',
  ]
  lines.append(_memory(max(costs, key=lambda c: c.bytes), prepared.train.images))
  return Estimated('\n'.join([*lines, WROTE]), seconds, sum(c.passes for c in costs))


def _config(plan: Plan) -> list[str]:
  """Returns one line per config field; fields that differ from the defaults come first."""
  plain = resolved(plan)
  files = plain.pop('plugins', {}).values()
  known, values = flat(defaults.get_config()), flat(plain)
  del values['data.cache']
  differs = [f for f, v in values.items() if known.get(f, v) != v]
  return [
    'config, what differs from the defaults:',
    *(f'  {f} = {values[f]!r}  (default {known[f]!r})' for f in differs),
    *(f'  plug-in {f["file"]} (sha256 {f["sha256"][:12]}…)' for f in files),
    'config, the rest:',
    *(f'  {f} = {v!r}' for f, v in values.items() if f not in differs),
    '',
  ]


def _rows(prepared: Prepared, audit: Audit) -> str:
  """Returns a line with the number of rows of each kind, the image shape and the number of classes."""
  rows, shape = prepared.record['rows'], 'x'.join(map(str, prepared.train.images.shape[1:]))
  test = 0 if audit.test is None else len(audit.test[0])
  return (
    f'data: {rows["train"]:,} training rows of {shape} in {len(prepared.classes)} classes ({rows["trusted"]:,} '
    f'verified, {rows["unlabeled"]:,} unlabeled), {rows["val"]:,} validation rows, {test:,} test rows'
  )


def _phases(phases: list[Phase], costs: list[_Cost], data: TrainData) -> str:
  """Returns a table with one row per phase."""
  head = ('phase', 'epochs', 'rows', 'batch', 'networks', 'steps an epoch', 'steps', 'passes', 'time')
  rows = [
    (
      phase.name,
      f'{phase.epochs}',
      f'{_trained(phase, data).sum():,}',
      f'{phase.spec.batch_size}',
      f'{phase.strategy.networks}',
      f'{c.steps:,}',
      f'{c.steps * phase.epochs:,}',
      f'{c.passes:,.0f}',
      progress.duration(c.seconds),
    )
    for phase, c in zip(phases, costs)
  ]
  early = any(int(phase.hyper.stop[0]) for phase in phases)
  return formatting.markdown(head, rows) + ('\nepochs: at most; a phase may stop early' if early else '')


def _trained(phase: Phase, data: TrainData) -> np.ndarray:
  """Returns the rows that a phase may train on, bool [N]; unlabeled rows only if a stream is declared unlabeled."""
  rows = phase.rows & data.used
  if any(not views.labeled for views in phase.strategy.streams.values()):
    return rows
  label = data.labels(phase.labels or 'given')
  return rows & ((label >= 0) | ((data.verified >= 0) & ('verified' in phase.strategy.needs)))


def _memory(most: _Cost, images: Images) -> str:
  """Returns a line on the memory that the run needs.

  Args:
    most: cost of the phase that needs the most memory.
    images: the training images.
  """
  mb = lambda count: f'{count / 2**20:,.0f} MB'
  pixels = math.prod(images.shape) if images.resident else 0
  work = most.bytes - most.state - pixels
  parts = f'images {mb(pixels)}, state {mb(most.state)}, a step up to {mb(work)}'
  if jax.default_backend() != 'cpu':
    return f'memory: about {mb(most.bytes)} on the device ({parts})'
  held = memory.peak()
  return f'memory: about {mb(held + most.bytes)} ({parts}, beside {mb(held)} of the program and the data set)'


def _cost(phase: Phase, state: TrainState, data: TrainData, keys: step.Keys, looked: int, rate: float | None) -> _Cost:
  """Returns the cost of a phase.

  Args:
    phase: the phase.
    state: state at the start of the phase.
    data: training rows.
    keys: random keys of the run.
    looked: number of validation and test rows, which are predicted after each epoch.
    rate: FLOP/s of the device; None: measure the time on a few steps.
  """
  own, steps = phase.strategy, epoch_steps(phase, state)
  hyper = phase.hyper.replace(steps=np.float32(steps))
  walks = between_epochs.walks(state.masks, keys.walk, state.epoch, data.classes)
  chunk = np.asarray(data.images.take(np.arange(min(phase.chunk, len(data.images)))))
  one = lambda state, images: step.one_step(phase.spec, own, hyper, state, walks, images, keys)
  look = lambda networks, images: phase.spec.net.look(networks.params, networks.stats, images)[0]
  images = data.images
  if not images.resident:
    images = gather.on_host(gather.next_rows(own, phase.spec.batch_size, walks, np.int32(0)), images)
  images = jax.tree.map(np.asarray, images)
  if rate is None:
    second = jax.jit(one)
    images = jax.tree.map(jnp.asarray, images)
    one_seconds = _seconds(lambda: second(state, images))
    asked = jax.jit(look)
    look_seconds = _seconds(lambda: asked(state.current, chunk)) / len(chunk)
  else:
    one_seconds = passes.operations(one, state, images) / rate + CALL
    look_seconds = passes.operations(look, state.current, chunk) / rate / len(chunk)
  looked += len(data.given) * passes.scores(own)
  count = steps * phase.spec.batch_size * passes.step_passes(own) / passes.BATCH
  count += own.networks * len(data.given) * passes.scores(own)
  return _Cost(
    steps,
    phase.epochs * count,
    phase.epochs * (steps * one_seconds + looked * look_seconds),
    passes.peak(one, state, images),
    sum(a.nbytes for a in jax.tree.leaves(state)),
  )


def _seconds(call: Callable) -> float:
  """Returns the mean duration of a call in seconds, after a first call that compiles."""
  jax.block_until_ready(call())
  start, count = time.monotonic(), 0
  while time.monotonic() - start < MEASURED or count < 3:
    jax.block_until_ready(call())
    count += 1
  return (time.monotonic() - start) / count


def _rate(dtype: str) -> float:
  """Returns the FLOP/s of a product of two large matrices: the best of 5 measurements."""
  side = 1024 if jax.default_backend() == 'cpu' else 8192
  matrix, product = jnp.ones((side, side), dtype), jax.jit(jnp.matmul)
  jax.block_until_ready(product(matrix, matrix))

  def once() -> float:
    start = time.monotonic()
    jax.block_until_ready(product(matrix, matrix))
    return time.monotonic() - start

  return 2 * side**3 / min(once() for _ in range(5))
