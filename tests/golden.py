"""What golden steps share: softmax regression in float64 numpy, one engine step to hold against it, and secret naives.

A golden test is a function `check(strategy)`: it takes one step of the engine (`entered`, `tiny.advance`) and asserts
that parameters, targets and `extra` are those of a reference of its own, written from the paper. `notices` then runs it
on copies of the strategy in which one method is naive's, and each copy must fail.
"""

import dataclasses
import functools
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.mixture import GaussianMixture

import tiny
from noisyjax.engine import between_epochs, step, train, walk
from noisyjax.engine.optim import Optimizer
from noisyjax.engine.spec import run_keys
from noisyjax.engine.strategy import Strategy
from noisyjax.strategies import naive
from tiny import BATCH, CLASSES, ROOT, ROWS

LR, EPOCH = 0.3, 6
UNLABELED, VERIFIED, HELD = range(0, 5), range(3, 15), range(40, 44)
DATA = tiny.data(unlabeled=UNLABELED, verified=VERIFIED)  # 48 rows, 3 classes
IN = ~np.isin(np.arange(ROWS), HELD)  # the rows that the phase may use
LABELED = (DATA.given >= 0) & IN
PIXELS = (np.asarray(DATA.images).reshape(ROWS, -1).astype(np.float64) - 127.5) / 64  # as the network sees them
MIRRORED = PIXELS.reshape(ROWS, 8, 8)[:, :, ::-1].reshape(ROWS, -1)
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


# --- what methods have in common, in float64 ------------------------------------------------------


def sharpened(p):
  return p**2 / (p**2).sum(-1, keepdims=True)  # T = 0.5


def mixed(key, alpha, images, targets, weight=1.0):
  """MixMatch's mixup of rows [M, n, …] as the step's key says; rows of weight 0 are mixed into none."""
  keys = jax.random.split(jax.random.fold_in(key, 1 << 16), len(images))
  weight = np.broadcast_to(weight, images.shape[:2])
  out = []
  for key, x, t, w in zip(keys, images, targets, weight, strict=True):
    lam_key, order_key = jax.random.split(key)
    lam = float(jax.random.beta(lam_key, alpha, alpha))
    partner = np.asarray(jax.random.permutation(order_key, len(x)))
    share = np.where(w[partner] > 0, max(lam, 1 - lam), 1.0)
    blend = lambda a, s=share, j=partner: (a.T * s).T + (a[j].T * (1 - s)).T
    out.append((blend(x), blend(t)))
  return [np.stack(a) for a in zip(*out, strict=True)]


def low_part(values, keep):
  """P(Gaussian of the smaller mean), [N], 0 for rows not kept: scikit-learn's, which begins with the best split in two.

  DivideMix's settings: at most 10 updates, tolerance 1e-2, 5e-4 added to the variances, on losses scaled to [0, 1].
  """
  z = np.asarray(values, np.float64)[keep]
  z = (z - z.min()) / (z.max() - z.min())
  ranked = np.sort(z)
  within = [i * ranked[:i].var() + (len(z) - i) * ranked[i:].var() for i in range(1, len(z))]
  last = ranked[int(np.argmin(within))]
  parts = z[z <= last], z[z > last]
  own = {'weights': [len(p) / len(z) for p in parts], 'means': [[p.mean()] for p in parts]}
  own['precisions'] = [[[1 / (p.var() + 5e-4)]] for p in parts]
  start = {f'{k}_init': np.array(v) for k, v in own.items()}
  fit = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, **start)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # it need not converge
    fit.fit(z[:, None])
  out = np.zeros(len(keep))
  out[keep] = fit.predict_proba(z[:, None])[:, fit.means_.argmin()]
  return out


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
    if strategy.refreshes:
      state = train.refreshed(phase, state, jnp.asarray(data.images), ROOT)
    state = between_epochs.begin_epoch(strategy, state, phase.rows)
  return phase, previous, state


def mirroring(phase, weak=('flip',)):
  """The phase, whose strong and, by default, weak views are the image or its mirror, each by a key of its own."""
  return tiny.replaced(phase, spec=dataclasses.replace(phase.spec, pipelines=(('weak', weak), ('strong', ('flip',)))))


_batches = jax.jit(step.batches, static_argnums=0)


def views(strategy, phase, state):
  """The next step's views as the network sees them: {stream: {view: [B, P] or [M, B, P]}}. No two are the same.

  Args:
    strategy: whose streams they are; not a secret naive, for which all of this would be compiled again.
  """
  keys = run_keys(ROOT)
  walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
  batch, _ = _batches(phase.spec, strategy, phase.hyper, state, walks, jnp.asarray(DATA.images), keys)
  out = {}
  for name, stream_views in strategy.streams.items():
    index = np.asarray(batch[name]['index'])
    images = {v: np.asarray(batch[name][v], np.float64) for v in stream_views.names}
    out[name] = {v: (a.reshape(*index.shape, -1) - 127.5) / 64 for v, a in images.items()}
    for i, seen in enumerate(out[name].values()):
      assert ((seen == PIXELS[index]).all(-1) | (seen == MIRRORED[index]).all(-1)).all()
      assert all((seen != other).any() for other in list(out[name].values())[:i])
  return out


def rows_of(members, state=None, size=BATCH):
  """Returns the first batch's rows, int [size] or [M, size], of a stream whose members are bool [N] or [M, N]."""
  epoch = jnp.int32(0) if state is None else state.epoch
  any_row = between_epochs.walks({'any': jnp.asarray(members)}, run_keys(ROOT).walk, epoch, CLASSES)['any']
  return np.asarray(walk.rows(any_row, 0, size)[0])


def step_key(state):
  """Returns ctx.key of the state's next step."""
  return jax.random.fold_in(run_keys(ROOT).step, state.step)


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

  def guess(self, images, keep=True):
    return jax.lax.stop_gradient(self.logits), self.logits

  def look(self, images, averaged=False):
    return jax.lax.stop_gradient(self.logits), self.logits

  def mixed(self, loss, batch):
    return loss(batch['target'])


@functools.partial(jax.jit, static_argnames='classes')
def loss_of(strategy, logits, label, weight, at, classes=None, **counts):
  """Returns (loss, metrics, gradient by the logits [M, B, C]) of a strategy with the one stream "train"."""
  target = jax.nn.one_hot(label, classes or logits.shape[-1])
  batch = {'train': {'weak': None, 'weight': weight, 'label': label, 'target': target, 'index': jnp.arange(len(label))}}
  # Of the state nothing but what co-teaching and its followers keep of the noise rate they are told, and `counts`.
  state = types.SimpleNamespace(extra={'forget': getattr(strategy, 'forget', None)}, **counts)
  objective = lambda z: strategy.loss(None, state, batch, Given(z, at))
  (loss, out), grad = jax.value_and_grad(objective, has_aux=True)(logits)
  return loss, out.metrics, grad


def draw(batch, seed=0):
  """Random logits [2, batch, C], labels [batch], and weights of 1."""
  rng = np.random.default_rng(seed)
  logits = jnp.asarray(rng.normal(size=(2, batch, CLASSES)) * 2, jnp.float32)
  return logits, jnp.asarray(rng.integers(0, CLASSES, batch)), jnp.ones(batch)
