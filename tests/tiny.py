"""The engine at its smallest: 48 images of 8x8 pixels, one convolution, and builders with a default for all numbers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs, optim, step, train
from noisyjax.engine.net import Net
from noisyjax.engine.spec import run_keys

ROWS, CLASSES, BATCH = 48, 3, 16
ROOT = jax.random.key(7)
SGD = optim.Optimizer()  # momentum 0.9, constant rate


class Conv(nn.Module):
  """One 3x3 convolution of 4 channels, batch norm, mean over places, head."""

  classes: int = CLASSES
  dropout: float = 0.0

  @nn.compact
  def __call__(self, images, train):
    x = nn.Conv(4, (3, 3), use_bias=False, name='conv')(images)
    x = nn.relu(nn.BatchNorm(not train, momentum=0.9, name='norm')(x))
    x = x.mean((1, 2))
    return nn.Dense(self.classes, name='head')(nn.Dropout(self.dropout, deterministic=not train)(x)), x


class Linear(nn.Module):
  """Softmax regression on the pixels: its gradient is one line of numpy."""

  classes: int = CLASSES

  @nn.compact
  def __call__(self, images, train):
    x = images.reshape(len(images), -1)
    return nn.Dense(self.classes, name='head')(x), x


def data(rows=ROWS, unlabeled=(), verified=(), seed=0) -> TrainData:
  """Random images; `unlabeled` rows have no given label, `verified` rows a verified one (at random, too)."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8)
  given, checked = rng.integers(0, CLASSES, (2, rows)).astype(np.int32)
  given[list(unlabeled)] = -1
  keep = np.zeros(rows, bool)
  keep[list(verified)] = True
  return TrainData(images, given, np.where(keep, checked, -1).astype(np.int32), CLASSES)


def net(networks=1, model=None, unroll=True) -> Net:
  return Net(Conv() if model is None else model, (127.5,), (64.0,), networks, unroll)


def spec(networks=1, model=None, unroll=True, ops=(), **fields) -> step.Spec:
  """One network, batches of 16; both the weak and the strong view are `ops`."""
  fields = {'batch_size': BATCH, **fields}
  pipelines = (('weak', ops), ('strong', ops), ('none', ()))
  return step.Spec(net(networks, model, unroll), CLASSES, pipelines=pipelines, **fields)


def hyper(
  optimizer=SGD,
  lr=0.1,
  decay=1e-3,
  epochs=4,
  steps=3,
  mixup=1.0,
  ema=0.9,
  stop=(0, 0.0),
  plateau=(0, 0.5),
  strength=None,
  **schedule,
) -> step.Hyper:
  optimizer = dataclasses.replace(optimizer, lr=lr, decay=decay)
  return step.Hyper.build(
    optimizer,
    schedule,
    epochs=epochs,
    steps=steps,
    strength=strength or {},
    mixup=mixup,
    ema=ema,
    stop=stop,
    plateau=plateau,
  )


def phase(strategy, a_spec=None, a_hyper=None, epochs=4, rows=None, **fields) -> train.Phase:
  """A phase of all rows unless `rows` says otherwise; networks as many as the strategy trains."""
  a_spec = spec(strategy.networks) if a_spec is None else a_spec
  a_hyper = hyper(epochs=epochs) if a_hyper is None else a_hyper
  rows = np.ones(ROWS, bool) if rows is None else rows
  return train.Phase('test', strategy, a_spec, a_hyper, epochs, rows, **{'chunk': 20, **fields})


def start(a_phase, a_data, previous=None, number=0):
  """Returns the state of a phase that begins."""
  return train.enter(a_phase, number, a_data, jnp.asarray(a_data.images), ROOT, previous)


def advance(a_phase, state, a_data, count=1, scan=False):
  """Returns the state `count` steps on, and the sums of their metrics; the state given stays usable."""
  keys = run_keys(ROOT)
  state = copied(state)
  walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
  images = jnp.asarray(a_data.images)
  arguments = (a_phase.spec, a_phase.strategy, a_phase.hyper)
  if scan:
    return step.train_steps(*arguments, state, walks, images, keys, count)
  sums = None
  for _ in range(count):
    state, new = step.train_step(*arguments, state, walks, images, keys)
    sums = new if sums is None else step.add(sums, new)
  return state, sums


def copied(tree):
  return jax.tree.map(lambda a: jnp.array(a, a.dtype, copy=True), tree)


def mean(metrics, name) -> float:
  total, count = np.asarray(metrics[name])
  return float(total / count)


def same(a, b) -> bool:
  """Whether two trees are equal bit by bit (NaN equals NaN)."""
  pairs = jax.tree.leaves(jax.tree.map(lambda x, y: np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True), a, b))
  return all(pairs) and bool(pairs)


def replaced(a_phase, numbers=None, **fields):
  """The phase with other fields, and with its strategy's floats replaced by `numbers`."""
  if numbers:
    fields['strategy'] = dataclasses.replace(a_phase.strategy, **{k: np.float32(v) for k, v in numbers.items()})
  return dataclasses.replace(a_phase, **fields)
