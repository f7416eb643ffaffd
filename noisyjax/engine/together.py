"""Several runs at once: on GPUs and TPUs, calls of their compiled steps that look alike are made in one program.

A run is a generator (`train.steps`): it yields the `Call` that it needs next and receives its `Outcome`. `alone` makes
the calls of one run. `side_by_side` makes those of several: each keeps its own state, epochs and hooks, and only the
steps are computed together.
"""

import functools
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from noisyjax.engine import gather, step
from noisyjax.engine.gather import Gathered
from noisyjax.engine.spec import Hyper, Keys, Spec
from noisyjax.engine.state import PyTree, TrainState
from noisyjax.engine.strategy import Strategy
from noisyjax.engine.walk import Walk
from noisyjax.system.log import log

Outcome = tuple[TrainState, dict[str, Any]]  # what `step.one_step` returns
T = TypeVar('T')


class Call(NamedTuple):
  """The arguments of a call of the compiled step, see `step.one_step`.

  Attributes:
    spec: static values of the phase.
    strategy: strategy of the phase.
    hyper: traced values of the phase.
    state: current state; the call donates it.
    walks: stream → walk of this epoch; None if `images` is `Gathered`.
    images: all training images, or the rows and images of these steps.
    keys: keys of the run.
    count: number of steps.
  """

  spec: Spec
  strategy: Strategy
  hyper: Hyper
  state: TrainState
  walks: dict[str, Walk] | None
  images: Any  # Array or Gathered
  keys: Keys
  count: int

  def made(self) -> Outcome:
    """Computes the steps of this call."""
    *arguments, count = self
    return step.train_step(*arguments) if count == 1 else step.train_steps(*arguments, count)

  def kind(self) -> Hashable:
    """Returns what two calls of equal `count` must have in common to be made in one program: static values, shapes."""
    leaves, tree = jax.tree.flatten(self[1:-1])
    return self.spec, tree, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


Steps = Generator[Call, Outcome, T]


def alone(steps: Steps[T]) -> T:
  """Makes the calls of one run, and returns what it returns."""
  try:
    call = next(steps)
    while True:
      try:
        outcome = call.made()
      except BaseException as error:  # raised in the run, as if it had made the call itself
        call = steps.throw(error)
      else:
        call = steps.send(outcome)
  except StopIteration as end:
    return end.value


def side_by_side(runs: Mapping[str, Steps[T]], most: int, vmap: bool) -> dict[str, T]:
  """Makes the calls of several runs. When a run ends, the next one begins in its place.

  Calls of one kind are made together, whichever epochs the runs are in. When fewer than all places are taken, they are
  made in groups of powers of two (7 as 4, 2 and 1): no step is computed for nothing, and few sizes are compiled.

  Args:
    runs: name → the run, not yet begun.
    most: maximum number of runs at once.
    vmap: whether alike calls are stacked and mapped, as suits GPUs and TPUs; otherwise each run calls its
      own step in turn, as suits CPUs.

  Returns:
    name → what the run returned. An error of one run ends all; a run that should not do so returns it.
  """
  waiting, full = iter(runs), min(most, len(runs))
  calls: dict[str, Call] = {}  # of the runs that have begun, in their order
  ended: dict[str, T] = {}
  told: set[str] = set()

  def go_on(name: str, resume: Callable[..., Call], *given: Any) -> None:
    try:
      calls[name] = resume(*given)
    except StopIteration as end:
      calls.pop(name, None)
      ended[name] = end.value

  try:
    while True:
      while len(calls) < full and (name := next(waiting, None)) is not None:
        go_on(name, next, runs[name])
      if not calls:
        return {name: ended[name] for name in runs}
      for group in _groups(calls, full, told):
        try:
          outcomes = _made([calls[name] for name in group], vmap)
        except BaseException as error:
          for name in group:
            go_on(name, runs[name].throw, error)
        else:
          for name, outcome in zip(group, outcomes):
            go_on(name, runs[name].send, outcome)
  finally:
    for run in runs.values():
      run.close()


def _groups(calls: Mapping[str, Call], full: int, told: set[str]) -> list[list[str]]:
  """Returns the names of the calls that are made together.

  Args:
    calls: name → the next call of the run.
    full: number of runs at once.
    told: runs that are known to train by themselves; others are logged and added.
  """
  alike: dict[Hashable, list[str]] = {}
  for name, call in calls.items():
    alike.setdefault(call.kind(), []).append(name)
  for name, *others in alike.values():
    if len(calls) > 1 and not others and name not in told:
      told.add(name)
      rows = len(calls[name].state.targets.label)
      what = 'the runs beside it differ in shapes or static values, such as the number of training rows'
      log.info('%s trains by itself for now: %s (%d here).', name, what, rows)
  out = []
  for names in alike.values():
    of: dict[int, list[str]] = {}
    for name in names:  # a resumed run may take fewer steps to the end of its epoch
      of.setdefault(calls[name].count, []).append(name)
    for group in of.values():
      out += _parted(group, full)
  return out


def _parted(names: list[str], full: int) -> list[list[str]]:
  """Returns the names in parts whose sizes are powers of two, or in one part if there are `full`."""
  parts = []
  while names:
    size = full if len(names) == full else 1 << (len(names).bit_length() - 1)
    parts.append(names[:size])
    names = names[size:]
  return parts


def _made(calls: Sequence[Call], vmap: bool) -> Sequence[Outcome]:
  """Makes calls of one kind and count: with `vmap` in one program, otherwise one after another."""
  first = calls[0]
  if len(calls) == 1 or not vmap:
    return [call.made() for call in calls]
  states = tuple(call.state for call in calls)
  others = tuple((call.strategy, call.hyper, call.walks, call.images, call.keys) for call in calls)
  return _mapped(first.spec, states, others, first.count)


@functools.partial(jax.jit, static_argnames=('spec', 'count'), donate_argnames='states')
def _mapped(spec: Spec, states: tuple[TrainState, ...], others: tuple[Any, ...], count: int) -> tuple[Outcome, ...]:
  """Runs `count` steps of all runs at once, by `vmap`.

  States are stacked here and not kept stacked, so that everything else sees the state of one run. Images are never
  stacked: each run takes those of its batch.
  """
  strategies, hypers, walks, images, keys = zip(*others)
  strategy, hyper, key = map(_stacked, (strategies, hypers, keys))

  def taken(run: int, tick: Array) -> Gathered:
    return gather.on_device(gather.rows_of(strategies[run], spec.batch_size, walks[run], tick), images[run])

  def one(state: TrainState, gathered: tuple[Gathered, ...] | None) -> Outcome:
    batch = _stacked(gathered or [taken(run, state.tick[run]) for run in range(len(states))])
    call = lambda strategy, hyper, state, batch, key: step.one_step(spec, strategy, hyper, state, None, batch, key)
    return jax.vmap(call)(strategy, hyper, state, batch, key)

  state, gathered = _stacked(states), images if isinstance(images[0], Gathered) else None
  if count == 1:
    done = one(state, gathered)
  else:
    state, sums = jax.lax.scan(one, state, gathered, length=count)
    done = state, jax.tree.map(lambda a: a.sum(0), sums)
  part = lambda run: jax.tree.map(lambda a: a[run], done)
  return tuple(map(part, range(len(states))))


def _stacked(trees: Sequence[PyTree]) -> Any:
  """Returns one tree whose leaves have a leading axis of the trees."""
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
