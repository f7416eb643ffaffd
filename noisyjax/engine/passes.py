"""The cost of a method in passes, and the cost of a traced function in operations and memory.

A pass is one training image through one network: 1 for forward, 3 for forward and backward. To count the passes of a
method, one step of the engine is traced on abstract values with a narrow network, and `Ctx` counts, as it does during a
run. Nothing is computed, and no method has to declare its cost.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, cast

import jax
import numpy as np
from jax import Array
from jax.extend import core

from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, optim, step
from noisyjax.engine.context import Ctx
from noisyjax.engine.net import Net
from noisyjax.engine.phase import Phase, enter
from noisyjax.engine.spec import run_keys
from noisyjax.engine.state import PyTree, TrainState
from noisyjax.engine.strategy import Batches, Out, Strategy
from noisyjax.models import small_cnn

ROWS, CLASSES, BATCH = 32, 4, 8


class _Counted:
  """A strategy that records the passes of its loss.

  Attributes:
    passes: passes of the last call of `loss`.
  """

  def __init__(self, strategy: Strategy) -> None:
    self._strategy = strategy
    self.passes = 0

  def __getattr__(self, name: str) -> Any:
    return getattr(self._strategy, name)

  def loss(self, params: PyTree, state: TrainState, batch: Batches, ctx: Ctx) -> tuple[Array, Out]:
    found = self._strategy.loss(params, state, batch, ctx)
    self.passes = ctx.passes
    return found


def planned(strategy: Strategy, name: str, epochs: int = 100) -> tuple[int, float]:
  """Returns the cost of the phases that a method plans for itself.

  Args:
    strategy: the method.
    name: its name in the config.
    epochs: epochs of the run.

  Returns:
    The maximum number of networks of the method's own phases, and the mean of their `passes`, weighted by epochs.
  """
  prefix, networks, total, length = f'strategy.{name}.', 0, 0.0, 0
  for of, count, fields in strategy.phases(name, epochs):
    if of == name:
      set_ = {field.removeprefix(prefix): value for field, value in fields.items() if field.startswith(prefix)}
      own: Strategy = dataclasses.replace(cast(Any, strategy), **set_)  # a dataclass, although `Strategy` is none
      networks, total, length = max(networks, own.networks), total + count * passes(own), length + count
  return networks, total / length


def passes(strategy: Strategy) -> float:
  """Returns the passes per row of the first stream, including 1 per network if every epoch scores all rows.

  If the first stream contains only a part of the rows, the scores cost more per row of that stream than this says.
  """
  first = next(iter(strategy.streams.values()))
  return step_passes(strategy) / (BATCH * first.ratio) + strategy.networks * scores(strategy)


def scores(strategy: Strategy) -> bool:
  """Returns whether the networks score all rows between epochs."""
  return strategy.scores and strategy.refresh_on == 'epoch'


def step_passes(strategy: Strategy) -> float:
  """Returns the passes of one step of BATCH rows."""
  rng = np.random.default_rng(0)
  given, even = np.arange(ROWS, dtype=np.int32) % CLASSES, np.arange(ROWS) % 2 == 0
  images = rng.integers(0, 256, (ROWS, 8, 8, 1), np.uint8)
  data = TrainData(images, given, np.where(even, given, -1).astype(np.int32), CLASSES)
  hyper = step.Hyper.build(optim.Optimizer())
  net = Net(small_cnn.Model(CLASSES + strategy.extra_classes, widths=(4,)), (127.5,), (64.0,), strategy.networks)
  spec = step.Spec(net, CLASSES, BATCH, tuple((view, ()) for view in ('weak', 'strong', 'none')))
  phase = Phase('cost', strategy, spec, hyper, 1, np.ones(ROWS, bool))
  counted: Any = _Counted(strategy)

  def one_step(root: Array, images: Array) -> tuple[TrainState, PyTree]:
    state = enter(phase, 0, data, images, root, None, template=True)
    keys = run_keys(root)
    walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
    return step.one_step(spec, counted, hyper, state, walks, images, keys)

  jax.eval_shape(one_step, jax.random.key(0), images)
  return counted.passes


def operations(function: Callable[..., Any], *arguments: Any) -> float:
  """Returns the number of floating-point operations of a function for these arguments, as XLA counts them.

  The function is traced but not compiled. Operations of foreign calls (oneDNN) are not counted.
  """
  return float((jax.jit(function).lower(*arguments).cost_analysis() or {}).get('flops', 0.0))


def peak(function: Callable[..., Any], *arguments: Any) -> int:
  """Returns the peak memory of a function in bytes, including its arguments, if each value is freed after its last use.

  A compiled program needs less, because fusion removes values: the figure was 1.1 to 1.8 times too high where tested.
  """
  return _peak(jax.make_jaxpr(function)(*arguments).jaxpr)


def _peak(jaxpr: core.Jaxpr) -> int:
  variables = lambda atoms: {a for a in atoms if isinstance(a, core.Var)}
  last = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in variables(eqn.invars)}
  kept = variables(jaxpr.outvars) | {*jaxpr.invars, *jaxpr.constvars}
  alive = most = sum(_bytes(v) for v in (*jaxpr.invars, *jaxpr.constvars))
  for i, eqn in enumerate(jaxpr.eqns):
    inside = max((_peak(j) - sum(map(_bytes, (*j.invars, *variables(j.outvars)))) for j in _inner(eqn)), default=0)
    alive += sum(map(_bytes, eqn.outvars))
    most = max(most, alive + max(inside, 0))
    done = (v for v in variables((*eqn.invars, *eqn.outvars)) - kept if last.get(v, i) == i)
    alive -= sum(map(_bytes, done))
  return most


def _inner(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
  """Returns the jaxprs inside an equation: those of calls, loops and branches."""
  leaves = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: isinstance(p, core.Jaxpr | core.ClosedJaxpr))
  found = (getattr(leaf, 'jaxpr', leaf) for leaf in leaves)
  return [j for j in found if isinstance(j, core.Jaxpr)]


def _bytes(variable: core.Var) -> int:
  aval: Any = variable.aval
  dtype = aval.dtype
  return math.prod(aval.shape) * (dtype.itemsize if isinstance(dtype, np.dtype) else 8)  # a random key: two words
