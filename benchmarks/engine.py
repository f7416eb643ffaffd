"""The engine's own step on random images, for the speed benchmarks.

Without jax until an engine is made: in cpu.py's and gpu.py's rivals, who draw their images here too, it has no place.
"""

import functools
import math
import time

import numpy as np


def seconds(call, repeats: int = 5) -> float:
  """Returns the median time of `call`, which returns what to wait for, after one that compiles."""
  import jax

  jax.block_until_ready(call())
  times = []
  for _ in range(repeats):
    started = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - started)
  return float(np.median(times))


def random_rows(count: int, classes: int = 10, side: int = 32) -> tuple[np.ndarray, np.ndarray]:
  """Returns images and labels."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
  return images, rng.integers(0, classes, count).astype(np.int32)


def random_data(count: int, classes: int = 10, side: int = 32):
  """Returns random rows as a strategy knows them, none verified."""
  from noisyjax.data.training import TrainData

  return TrainData(*random_rows(count, classes, side), np.full(count, -1, np.int32), classes)


def configured(fields: dict):
  """Returns base's config without augmentation, with these fields; no measurement reaches the end of its schedule."""
  from configs import base
  from noisyjax.config.override import override

  c = base.get_config()
  override(c, {'augment.weak': (), 'epochs': 1000} | fields, 'benchmark')
  c.phases = c.phases or ((c.strategy.name, c.epochs, {}),)
  return c


class Engine:
  """A phase that has been entered, and what an epoch does in it.

  Args:
    fields: dotted name → value, of the config. data: the rows. seed: of the run.
  """

  def __init__(self, fields: dict, data, seed: int = 0):
    import jax

    from noisyjax.config.plan import Plan
    from noisyjax.engine.phase import enter
    from noisyjax.engine.spec import run_keys

    self.data, self.phase = data, Plan.of(configured(fields)).engine_phases(data)[0]
    root, self.images = jax.random.key(seed), jax.numpy.asarray(data.images)
    self.keys = run_keys(root)
    self.state = enter(self.phase, 0, data, self.images, root, None, template=True)  # nobody is asked
    self.hyper = self.phase.hyper.replace(steps=np.float32(len(data.given) // self.phase.spec.batch_size))
    self.walks = self.walk()

  def walk(self):
    """Returns this epoch's walks."""
    from noisyjax.engine import between_epochs

    return between_epochs.walks(self.state.masks, self.keys.walk, self.state.epoch, self.phase.spec.classes)

  def arguments(self) -> tuple:
    """Returns the step's."""
    return self.phase.spec, self.phase.strategy, self.hyper, self.state, self.walks, self.images, self.keys

  def call(self, steps: int = 1):
    """Trains so many steps in one call, and returns their metrics without waiting."""
    from noisyjax.engine import step

    if steps == 1:
      self.state, sums = step.train_step(*self.arguments())
    else:
      self.state, sums = step.train_steps(*self.arguments(), steps)
    return sums

  def learn(self, calls: int, steps: int = 1) -> None:
    """Trains, one call ahead of the device as the trainer does, and waits for the last."""
    import jax

    ahead = None
    for _ in range(calls):
      sums = self.call(steps)
      jax.block_until_ready(ahead)
      ahead = sums
    jax.block_until_ready(self.state)
    self.state = self.state.replace(tick=jax.numpy.zeros_like(self.state.tick))

  def predict(self):
    """Returns probabilities of every row, images coming from the host."""
    from noisyjax.engine import score

    return score.predict(
      self.phase.spec.net, self.phase.strategy, self.state.current, self.data.images, self.phase.chunk
    )

  def score(self):
    """Returns the loss of every row, images lying on the device: what methods that select rows ask every epoch."""
    import jax

    from noisyjax.engine import score

    p = self.phase
    return jax.block_until_ready(score.score_rows(p.spec.net, scorer(), self.state, self.images, p.chunk))

  def flops(self) -> float:
    """Returns floating-point operations of a step's convolutions and matrix products, by image of the batch.

    Those of XLA's own form of the step, whatever form runs.

    Raises:
      ValueError: none was found.
    """
    import dataclasses

    from noisyjax.engine import step

    spec, *rest = self.arguments()
    net = dataclasses.replace(spec.net, model=spec.net.model.clone(conv='plain'))
    found = products(step.train_step.trace(dataclasses.replace(spec, net=net), *rest).jaxpr)
    if not found:
      raise ValueError(f'no convolution and no matrix product in the step of {self.phase.spec.net.model}.')
    return found / self.phase.spec.batch_size


@functools.cache
def scorer():
  """Returns a strategy that keeps a loss of every row."""
  from noisyjax.engine import losses
  from noisyjax.engine.strategy import Strategy

  class Scorer(Strategy):
    def score(self, logits, features, batch):
      return {'loss': losses.cross_entropy(logits, batch['target'])}

  return Scorer.build()


def products(jaxpr) -> float:
  """Returns the operations of all convolutions and matrix products, in inner jaxprs too.

  Counted here because the compiler's own count is available on CPUs alone; like that one, it leaves out what padding
  and dilation multiply by zero. A scan's are counted as often as it runs, those of any other loop once.
  """
  return sum((operations for operations, _ in each_product(jaxpr)), 0.0)


def each_product(jaxpr, times: float = 1.0):
  """Yields the operations and the type of the factors (the wider one) of each convolution and matrix product."""
  for eqn in jaxpr.eqns:
    name = eqn.primitive.name
    if name in ('conv_general_dilated', 'dot_general'):
      wide = max((v.aval.dtype for v in eqn.invars), key=lambda dtype: dtype.itemsize)
      yield times * (_convolution(eqn) if name == 'conv_general_dilated' else _product(eqn)), wide.name
    for inner in _leaves(eqn.params):
      inner = getattr(inner, 'jaxpr', inner)
      if hasattr(inner, 'eqns'):
        yield from each_product(inner, times * (eqn.params['length'] if name == 'scan' else 1))


def _product(eqn) -> float:
  (contracted, _), _ = eqn.params['dimension_numbers']
  left = eqn.invars[0].aval.shape
  return 2.0 * eqn.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)


def _leaves(params: dict):
  """Yields parameters, and what is in those that are tuples (a condition's branches)."""
  for p in params.values():
    yield from p if isinstance(p, tuple) else (p,)


def _convolution(eqn) -> float:
  p, out = eqn.params, eqn.outvars[0].aval.shape
  images, kernel = (v.aval.shape for v in eqn.invars)
  numbers = p['dimension_numbers']
  found = 2.0 * out[numbers.out_spec[0]] * out[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]]
  for i in range(len(p['window_strides'])):
    places = np.arange(out[numbers.out_spec[2 + i]])[:, None] * p['window_strides'][i]
    taps = np.arange(kernel[numbers.rhs_spec[2 + i]]) * p['rhs_dilation'][i] - p['padding'][i][0]
    at, step = places + taps, p['lhs_dilation'][i]
    found *= ((at >= 0) & (at <= (images[numbers.lhs_spec[2 + i]] - 1) * step) & (at % step == 0)).sum()
  return found
