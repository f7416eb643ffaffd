"""Checks that new networks and their first loss are finite; otherwise the initialisation or the data are at fault.

The loss alone is not a sufficient check: on CPUs, XLA's maximum of NaN and 0 is 0, so a ReLU hides NaNs of earlier
layers, and the network trains on zeros.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from noisyjax.engine import step
from noisyjax.engine.state import PyTree, Snapshot, TrainState
from noisyjax.engine.strategy import Batches, Strategy
from noisyjax.engine.walk import Walk
from noisyjax.system.errors import Diverged

_FAULT = 'Check the initialisation and the data: no optimizer step is involved yet.'


def check_networks(phase: Any, networks: Snapshot) -> None:
  """Checks the initial networks of a phase.

  Args:
    phase: a `phase.Phase`.
    networks: its initial networks.

  Raises:
    Diverged: a pixel statistic, parameter or running statistic is not finite; the message names it.
  """
  net = phase.spec.net
  found = [
    f'the pixel {field} of the images is {tuple(map(float, values))} (from the data or from model.{field})'
    for field, values in (('mean', net.mean), ('std', net.std))
    if _count(values)
  ]
  for kind, tree in (('parameter', networks.params), ('statistic', networks.stats)):
    found += [f'{kind} {name!r}, {bad} of {size} numbers' for name, bad, size in _not_finite(tree)]
  if found:
    raise Diverged(f'The initial networks of phase {phase.name!r} are not finite: {found[0]}. {_FAULT}')


def check_step(
  phase: Any,
  networks: Snapshot,
  state: TrainState,
  count: int,
  walks: dict[str, Walk] | None,
  images: Any,
  keys: step.Keys,
) -> None:
  """Checks the first loss of new networks and, if only one step was taken, the running statistics after it.

  Args:
    phase: a `phase.Phase`.
    networks: its initial networks.
    state: state after the first `count` steps of the phase.
    count: number of these steps.
    walks: as for `step.one_step`.
    images: as for `step.one_step`.
    keys: as for `step.one_step`.

  Raises:
    Diverged: the loss or a statistic is not finite. The message names the first cause in order of computation: a view,
      a target, a weight, the output of a layer, or the loss itself.
  """
  first = int(state.step) - count
  loss = int(state.bad_step) == first
  if not loss and (count > 1 or not _not_finite(state.stats)):
    return
  before = state.replace(step=state.step - count, tick=state.tick - count)
  found = _first(phase, networks, _batches(phase.spec, phase.strategy, phase.hyper, before, walks, images, keys), keys)
  what = 'loss is' if loss else 'batch statistics are'
  raise Diverged(f'The {what} not finite at step {first + 1}, before any update: {found}. {_FAULT}')


@functools.partial(jax.jit, static_argnames='spec')
def _batches(
  spec: step.Spec,
  strategy: Strategy,
  hyper: step.Hyper,
  state: TrainState,
  walks: dict[str, Walk] | None,
  images: Any,
  keys: step.Keys,
) -> Batches:
  return step.batches(spec, strategy, hyper, state, walks, images, keys)[0]


def _first(phase: Any, networks: Snapshot, batch: Batches, keys: step.Keys) -> str:
  """Returns a description of the first value that is not finite, in order of computation."""
  arrays: dict[str, Any] = dict(batch)  # a TypedDict accepts only literal keys
  streams = {stream: views.names for stream, views in phase.strategy.streams.items()}
  for stream, views in streams.items():
    for name in (*views, 'target', 'weight', 'trust'):
      if _count(arrays[stream].get(name, 0.0)):
        return f'{name!r} in the first batch of stream {stream!r} is not finite'
  for stream, views in streams.items():
    for name in views:
      for layer, value in phase.spec.net.layers(networks.params, networks.stats, arrays[stream][name], keys.step):
        if bad := _count(value):
          return f'in the output of layer {layer!r} for the first batch, {bad} of {value.size} numbers are not finite'
  return f'the loss of strategy {phase.name!r} is not finite, although the outputs of the networks are'


def _not_finite(tree: PyTree) -> list[tuple[str, int, int]]:
  """Returns (path, count of non-finite numbers, count of all numbers) of each leaf with non-finite numbers."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  counted = ((path, _count(a), a.size) for path, a in leaves)
  return [(jax.tree_util.keystr(path, simple=True, separator='/'), bad, size) for path, bad, size in counted if bad]


def _count(values: ArrayLike) -> int:
  """Returns the count of non-finite numbers."""
  return int((~np.isfinite(np.asarray(values, np.float32))).sum())
