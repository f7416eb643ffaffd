"""Trains the engine and a reference of `official` side by side: same weights, rows, views and random draws.

The engine decides the rows and views of every batch. All that a method decides (targets, subsets, weights, losses) the
reference decides for itself.
"""

import contextlib
import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen as nn
from numpy.testing import assert_array_equal
from official.network import Dense as Reference, tensor

import tiny
from noisyjax.engine import between_epochs, step, train
from noisyjax.engine.optim import Optimizer
from noisyjax.engine.phase import first_targets
from noisyjax.engine.spec import run_keys
from tiny import BATCH, CLASSES, ROOT

EPOCHS, STEPS = 4, 3
SGD = Optimizer('sgd', momentum=0.9, kernels_only=False)
LR, DECAY = 0.1, 1e-3
DATA = tiny.data(verified=range(0, 48, 3))


class Dense(nn.Module):
  """One hidden layer with batch norm, unless `norm` is off, and relu, and the head."""

  norm: bool = True

  @nn.compact
  def __call__(self, images, train):
    x = nn.Dense(16, use_bias=False, name='hidden')(images.reshape(len(images), -1))
    if self.norm:
      x = nn.BatchNorm(not train, momentum=0.9, use_fast_variance=False, name='norm')(x)
    x = nn.relu(x)
    return nn.Dense(CLASSES, name='head')(x), x


def pixels(images):
  """Images [..., 8, 8, 1] as the networks see them: [..., 64]."""
  flat = np.asarray(images, np.float32).reshape(*np.shape(images)[:-3], -1)
  return torch.from_numpy(((flat - np.float32(127.5)) / np.float32(64)).astype(np.float64))


def widened(tree):
  """Returns the tree with float64 in place of float32."""
  wide = lambda a: jnp.asarray(a, jnp.float64) if jnp.issubdtype(jnp.result_type(a), jnp.floating) else a
  return jax.tree.map(wide, tree)


def of_networks(tree, networks):
  """Returns the tree of each network, without the leading axis."""
  return [jax.tree.map(lambda a, m=m: np.asarray(a[m]), tree) for m in range(networks)]


def phase_of(strategy, data=DATA, optimizer=SGD, lr=LR, decay=DECAY, norm=True, ema_ramp=0.0, **fields):
  hyper = tiny.hyper(optimizer, lr=lr, decay=decay, epochs=EPOCHS, ema=0.9)
  hyper = hyper.replace(ema_ramp=np.float32(ema_ramp))
  spec = tiny.spec(strategy.networks, Dense(norm), ops=('flip',), ema=fields.pop('averaged', False))
  return tiny.phase(strategy, spec, hyper, rows=np.ones(len(data.given), bool), **fields)


@contextlib.contextmanager
def doubled(on):
  with jax.enable_x64(on):
    yield


def compare(strategy, official, data=DATA, double=False, after=None, sure=1.0, **fields):
  """Asserts that 12 steps of the engine end with the reference's parameters and running statistics.

  Args:
    strategy: strategy, built.
    official: class of the reference; its argument is what both start from.
    data: training rows.
    double: whether the engine computes in float64, for 1e-6 instead of 1e-4 of the largest parameter.
    after: strategy of an earlier phase, whose networks the phase keeps.
    sure: factor on the head's initial weights, for predictions near 0 and 1.
    **fields: of `phase_of`.
  """
  with doubled(double):
    phase = phase_of(strategy, data, **fields)
    images = jnp.asarray(data.images)
    earlier = tiny.start(phase_of(after, data, **fields), data) if after else None
    state = tiny.start(phase, data, earlier, int(after is not None))
    net = state.params['net']
    loud = net | {'head': net['head'] | {'kernel': net['head']['kernel'] * sure}}
    state = state.replace(params=state.params | {'net': loud})
    if double:
      state, hyper = widened((state, phase.hyper))
      phase = dataclasses.replace(phase, hyper=hyper)
    zero = jnp.array(0, jnp.int32)
    state = state.replace(phase_epoch=zero, epoch=zero)
    stats = state.stats
    networks = [
      Reference(p, s)
      for p, s in zip(*(of_networks(t, strategy.networks) for t in (state.params['net'], stats)), strict=True)
    ]
    lr, decay = fields.get('lr', LR), fields.get('decay', DECAY)
    optimizer = phase.hyper.optimizer
    held = getattr(official, 'held', ())
    trained = lambda net: [p for name, p in net.named_parameters() if name not in held]
    momentum = float(optimizer.momentum)
    make = lambda net: torch.optim.SGD(trained(net), lr=lr, momentum=momentum, weight_decay=decay)
    run = types.SimpleNamespace(
      strategy=strategy,
      networks=networks,
      optimizers=[make(net) for net in networks],
      own=jax.tree.map(np.asarray, state.params['own']),
      labels=tensor(data.given).long(),
      verified=tensor(data.verified).long(),
      pixels=pixels(data.images),
      classes=CLASSES,
      batch=BATCH,
      steps=STEPS,
      epochs=float(phase.hyper.epochs),
      ema=float(phase.hyper.ema),
      ema_ramp=float(phase.hyper.ema_ramp),
      lr=lr,
      decay=decay,
    )
    run.draws = lambda alpha, count: draws(run.key, alpha, strategy.networks, count)
    reference = official(run)
    keys = run_keys(ROOT)
    batches = jax.jit(step.batches, static_argnums=0)
    for epoch in range(EPOCHS):
      if strategy.refreshes and strategy.refresh_on == 'epoch':
        if epoch == 0:  # anew, in the precision of the comparison
          state = state.replace(targets=first_targets(phase, data))
        state = train.refreshed(phase, state, images, ROOT, averaged=strategy.averaged)
      state = between_epochs.begin_epoch(strategy, state, phase.rows)
      reference.epoch(epoch)
      for name, members in getattr(reference, 'members', {}).items():
        assert_array_equal(np.asarray(state.masks[name]), members, err_msg=f'{name} in epoch {epoch}')
      walks = between_epochs.walks(state.masks, keys.walk, state.epoch, CLASSES)
      for _ in range(STEPS):
        seen, _ = batches(phase.spec, strategy, phase.hyper, state, walks, images, keys)
        run.key = jax.random.fold_in(keys.step, state.step)
        reference.step({name: shown(part) for name, part in seen.items()})
        state, _ = step.train_step(phase.spec, strategy, phase.hyper, state, walks, images, keys)
      state = state.replace(epoch=state.epoch + 1, phase_epoch=state.phase_epoch + 1, tick=jnp.zeros_like(state.tick))
    matches(state, reference, strategy.networks, 1e-6 if double else 1e-4)


def draws(key, alpha, networks, count):
  """Returns mixup's draws of a step for each network: the larger share, and the partners of `count` rows."""
  out = []
  for own in jax.random.split(jax.random.fold_in(key, 1 << 16), networks):
    share_key, order_key = jax.random.split(own)
    share = float(jax.random.beta(share_key, np.float32(alpha), np.float32(alpha)))
    out.append((max(share, 1 - share), torch.from_numpy(np.array(jax.random.permutation(order_key, count)))))
  return out


def shown(part):
  """A batch as the reference gets it: row numbers and views, but no target, trust or weight."""
  views = {k: pixels(v) for k, v in part.items() if k.startswith(('weak', 'strong', 'none'))}
  return views | {'index': torch.from_numpy(np.array(part['index'])).long()}


def matches(state, reference, networks, tolerance):
  """Asserts that parameters, statistics and the method's own parameters agree."""
  mine = [of_networks(t, networks) for t in (state.params['net'], state.stats)]
  want = list(zip(*(net.arrays() for net in reference.run.networks), strict=True))
  own = getattr(reference, 'own', {})
  assert set(own) == set(state.params['own']), 'learnables that the reference lacks'
  scale = max(np.abs(a).max() for a in jax.tree.leaves(mine[0]))
  trees = [(mine[0], list(want[0])), (mine[1], list(want[1]))]
  trees += [({k: np.asarray(state.params['own'][k]) for k in own}, {k: v.detach().numpy() for k, v in own.items()})]
  for a, b in trees:
    off = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a, b)
    assert max(jax.tree.leaves(off), default=0) <= tolerance * scale, off
