"""What golden steps share: softmax regression in float64 numpy, one engine step to hold against it, and secret naives.

A golden test is a function `check(strategy)`: it takes one step of the engine (`entered`, `tiny.advance`) and asserts
that parameters, targets and `extra` are those of a reference of its own, written from the paper. `notices` then runs it
on copies of the strategy in which one method is naive's, and each copy must fail.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tiny
from noisyjax import step, train
from noisyjax.data import stream
from noisyjax.optim import Optimizer
from noisyjax.strategies import naive
from noisyjax.strategy import Strategy
from tiny import BATCH, CLASSES, ROOT, ROWS

LR, EPOCH = 0.3, 6
UNLABELED, VERIFIED, HELD = range(0, 5), range(3, 15), range(40, 44)
DATA = tiny.data(unlabeled=UNLABELED, verified=VERIFIED)  # 48 rows, 3 classes
IN = ~np.isin(np.arange(ROWS), HELD)  # the rows that the phase may use
LABELED = (DATA.given >= 0) & IN
PIXELS = (DATA.images.reshape(ROWS, -1).astype(np.float64) - 127.5) / 64  # as the network sees them
EYE = np.eye(CLASSES)
GIVEN = EYE[np.maximum(DATA.given, 0)] * (DATA.given >= 0)[:, None]  # [N, C]


# --- softmax regression in float64 ----------------------------------------------------------------


def softmax(logits):
  e = np.exp(logits - logits.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def cross_entropy(logits, target):
  return -(target * np.log(softmax(logits))).sum(-1)


def logits_of(net, pixels):
  """Logits [M, n, C] of pixels [n, P], or [M, n, P], under params["net"] of `tiny.Linear`."""
  kernel, bias = (np.asarray(net['head'][k], np.float64) for k in ('kernel', 'bias'))
  equation = 'np,mpc->mnc' if pixels.ndim == 2 else 'mnp,mpc->mnc'
  return np.einsum(equation, pixels, kernel) + bias[:, None]


def descended(net, pixels, error, lr=LR):
  """Returns head's kernel and bias after one plain gradient step: error [M, n, C] is the loss's gradient by logits."""
  equation = 'np,mnc->mpc' if pixels.ndim == 2 else 'mnp,mnc->mpc'
  kernel = np.asarray(net['head']['kernel'], np.float64) - lr * np.einsum(equation, pixels, error)
  return kernel, np.asarray(net['head']['bias'], np.float64) - lr * error.sum(1)


def mean_error(logits, target, weight):
  """Gradient by logits of Σ_m (Σ w CE) / Σ w: logits [M, B, C], target [B, C] or [M, B, C], weight [M, B]."""
  weight = np.broadcast_to(weight, logits.shape[:-1])
  return (softmax(logits) - target) * (weight / weight.sum(-1, keepdims=True))[..., None]


def assert_descended(state, kernel, bias):
  assert_allclose(state.params['net']['head']['kernel'], kernel, rtol=1e-4, atol=1e-5)
  assert_allclose(state.params['net']['head']['bias'], bias, rtol=1e-4, atol=1e-5)


# --- one step of the engine -----------------------------------------------------------------------


def phase_of(strategy, data=DATA, **fields):
  """A phase of the strategy on `tiny.Linear`: plain SGD, no decay, no augmentation, 20 epochs, held rows."""
  plain = tiny.hyper(Optimizer('sgd', momentum=0.0), lr=LR, decay=0.0, epochs=20)
  model = tiny.Linear(CLASSES + strategy.extra_classes)
  return tiny.phase(strategy, tiny.spec(strategy.networks, model), plain, rows=fields.pop('rows', IN), **fields)


def entered(strategy, epoch=EPOCH, before=None, steps=0, data=DATA, **fields):
  """Enters the strategy's phase after another one, and begins epoch `epoch` (a "phase" refresh only enters).

  Args:
    strategy: built. before: the strategy of the earlier phase; by default naive with as many networks.
    steps: of that phase, so that its networks know something. fields: of the phase, such as reset='all'.
  Returns:
    phase, the state that the earlier phase left, the state that waits for its first step.
  """
  earlier = phase_of(before or naive.Strategy.build(networks=strategy.networks), data)
  previous = tiny.start(earlier, data)
  if steps:
    previous, _ = tiny.advance(earlier, previous, data, steps)
  phase = phase_of(strategy, data, **fields)
  state = tiny.start(phase, data, previous, 1)
  if strategy.refresh_on == 'epoch':
    state = state.replace(phase_epoch=jnp.array(epoch, jnp.int32))
    if strategy.refresh is not None:
      state = train.refreshed(phase, state, jnp.asarray(data.images), ROOT)
    state = step.begin_epoch(strategy, state, phase.rows)
  return phase, previous, state


def rows_of(members, state=None, size=BATCH):
  """Returns the first batch's rows, int [size] or [M, size], of a stream whose members are bool [N] or [M, N]."""
  epoch = jnp.int32(0) if state is None else state.epoch
  walk = step.walks({'any': jnp.asarray(members)}, step.keys(ROOT).walk, epoch, CLASSES)['any']
  return np.asarray(stream.rows(walk, 0, size)[0])


def step_key(state):
  """Returns ctx.key of the state's next step."""
  return jax.random.fold_in(step.keys(ROOT).step, state.step)


# --- a strategy that is secretly naive ------------------------------------------------------------


def without(strategy, method):
  """The same strategy with naive's `method` (whose loss has no smoothing unless the strategy has)."""
  plain = getattr(naive.Strategy, method)
  if method == 'loss':

    def plain(self, params, state, batch, ctx):
      first = next(iter(self.streams))
      own = {**batch[first], 'weak': batch[first][self.streams[first].names[0]]}
      return naive.Strategy.loss(naive.Strategy.build(networks=self.networks), params, state, {'train': own}, ctx)

  mutant = type('Mutant', (type(strategy),), {method: plain})
  return mutant(**{f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)})


def notices(check, strategy):
  """Asserts that `check` passes, and fails for every method of the protocol that is replaced by naive's."""
  check(strategy)
  own = [m for m in ('loss', 'members', 'score', 'refresh') if getattr(type(strategy), m) is not getattr(Strategy, m)]
  assert own
  for method in own:
    with pytest.raises((AssertionError, KeyError, TypeError, ValueError)):
      check(without(strategy, method))
      print(f'{method} is naive, and nobody noticed')


# --- losses alone, on given logits ----------------------------------------------------------------


class Given:
  """A ctx whose networks answer with given logits [M, B, C]."""

  def __init__(self, logits, epoch=0, **fields):
    self.logits, self.epoch, self.classes, self.key = logits, epoch, logits.shape[-1], jax.random.key(0)
    self.__dict__ |= fields

  def net(self, params, images):
    return self.logits, self.logits

  def look(self, images, averaged=False):
    return jax.lax.stop_gradient(self.logits), self.logits

  def mixed(self, loss, batch):
    return loss(batch['target'])


@functools.partial(jax.jit, static_argnames='classes')
def loss_of(strategy, logits, label, weight, epoch, classes=None):
  """Returns (loss, metrics, gradient by the logits [M, B, C]) of a strategy with the one stream "train"."""
  target = jax.nn.one_hot(label, classes or logits.shape[-1])
  batch = {'train': {'weak': None, 'weight': weight, 'label': label, 'target': target, 'index': jnp.arange(len(label))}}
  objective = lambda z: strategy.loss(None, None, batch, Given(z, epoch))
  (loss, out), grad = jax.value_and_grad(objective, has_aux=True)(logits)
  return loss, out.metrics, grad


def draw(batch, seed=0):
  """Random logits [2, batch, C], labels [batch], and weights of 1."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(size=(2, batch, CLASSES)) * 2, jnp.float32)
  return logits, jnp.asarray(rng.integers(0, CLASSES, batch)), jnp.ones(batch)
