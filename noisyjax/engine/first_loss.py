"""Checks that new networks and their first loss are finite; if not, initialisation or data are at fault.

The loss alone does not tell: on CPUs XLA's maximum of NaN and 0 is 0, so that a ReLU hides what came before it, and the
network trains on nothing.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from noisyjax.engine import step
from noisyjax.engine.state import PyTree, Snapshot, TrainState
from noisyjax.engine.strategy import Batches, Strategy
from noisyjax.engine.walk import Walk
from noisyjax.system.errors import Diverged

_FAULT = 'Look at the initialisation and the data: no optimizer has done anything yet.'


def check_networks(phase: Any, networks: Snapshot) -> None:
  """Looks at what a phase's new networks begin with.

  Raises:
    Diverged: naming the pixel statistic, parameter or statistic that is not finite.
  """
  net = phase.spec.net
  found = [
    f'the pixel {field} of the images is {tuple(map(float, values))} (from the data, or model.{field})'
    for field, values in (('mean', net.mean), ('std', net.std))
    if _count(values)
  ]
  for kind, tree in (('parameter', networks.params), ('statistic', networks.stats)):
    found += [f'{kind} {name!r} has {bad} of {size} numbers' for name, bad, size in _not_finite(tree)]
  if found:
    raise Diverged(f'Phase {phase.name!r} cannot begin, for its networks are not finite: {found[0]}. {_FAULT}')


def check_step(
  phase: Any, networks: Snapshot, state: TrainState, count: int, walks: dict[str, Walk], images: Array, keys: step.Keys
) -> None:
  """Looks at the first loss of new networks, and at the batch statistics, where they are of one step.

  Args:
    phase: a `train.Phase`. networks: as they began. state: after the phase's first `count` steps. walks, images, keys:
      as `step.one_step` takes them.
  Raises:
    Diverged: naming what is not finite first: a view, a target, a layer's output, or the loss itself.
  """
  first = int(state.step) - count
  loss = int(state.bad_step) == first
  if not loss and (count > 1 or not _not_finite(state.stats)):
    return
  before = state.replace(step=state.step - count, tick=state.tick - count)
  found = _first(phase, networks, _batches(phase.spec, phase.strategy, phase.hyper, before, walks, images, keys), keys)
  what = 'loss is' if loss else 'batch statistics are'
  raise Diverged(f'The {what} not finite at step {first + 1}, before anything was learnt: {found}. {_FAULT}')


@functools.partial(jax.jit, static_argnames='spec')
def _batches(
  spec: step.Spec,
  strategy: Strategy,
  hyper: step.Hyper,
  state: TrainState,
  walks: dict[str, Walk],
  images: Array,
  keys: step.Keys,
) -> Batches:
  return step.batches(spec, strategy, hyper, state, walks, images, keys)[0]


def _first(phase: Any, networks: Snapshot, batch: Batches, keys: step.Keys) -> str:
  arrays: dict[str, Any] = dict(batch)  # a name is no literal here
  streams = {stream: views.names for stream, views in phase.strategy.streams.items()}
  for stream, views in streams.items():
    for name in (*views, 'target', 'weight', 'trust'):
      if _count(arrays[stream].get(name, 0.0)):
        return f'{name!r} of the first batch of stream {stream!r} is not'
  for stream, views in streams.items():
    for name in views:
      for layer, value in phase.spec.net.layers(networks.params, networks.stats, arrays[stream][name], keys.step):
        if bad := _count(value):
          return f'the output of layer {layer!r} for the first batch has {bad} of {value.size} numbers'
  return f'the loss of strategy {phase.name!r} is not, where the outputs of the networks are'


def _not_finite(tree: PyTree) -> list[tuple[str, int, int]]:
  """Returns (path, numbers that are not finite, numbers) of each such leaf."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  counted = ((path, _count(a), a.size) for path, a in leaves)
  return [(jax.tree_util.keystr(path, simple=True, separator='/'), bad, size) for path, bad, size in counted if bad]


def _count(values: ArrayLike) -> int:
  """Returns how many numbers are not finite."""
  return int((~np.isfinite(np.asarray(values, np.float32))).sum())
