"""Small-loss selection: networks learn right labels first, so that rows of small loss are mostly right."""

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import Strategy
from noisyjax.estimate import mixture
from noisyjax.estimate.rank import place


def keep_rate(epoch, forget, ramp):
  """Returns R(T) = 1 − τ·min(T/(T_k − 1), 1): the part kept in epoch T (from 0); T_k = 0: at once."""
  return 1 - forget * jnp.where(ramp > 0, jnp.minimum(epoch / jnp.maximum(ramp - 1, 1e-6), 1.0), 1.0)


def smallest(per, valid, keep):
  """Returns the floor(keep · n) smallest of n valid rows: per [M, B], valid bool [B] → bool [M, B]."""
  per = jnp.where(valid, per, jnp.inf)
  # The nudge undoes float32: 0.7f · 100 is 69.99….
  return valid & (place(per) < jnp.floor(keep * valid.sum(-1, keepdims=True) + 1e-3))


class Forgetful(Strategy):
  """What co-teaching and its followers share: two networks, and how much of a batch they drop.

  Attributes:
    forget: τ, the part of each batch dropped at the end: the noise rate, which the method is told. Below 0 it is the
      weight of the large losses in a mixture of Gaussians, of each row's mean loss over networks and epochs so far.
    ramp: T_k, epochs over which it rises to that.
  """

  networks = 2
  mix = None
  rates = ('forget',)
  forget: float = 0.2
  ramp: float = 10.0

  @property
  def needs(self):
    return ('rate',) if self.forget > 0 else ()

  def init(self, key, data):
    return {}, {'forget': jnp.zeros((), jnp.float32)}

  def refresh(self, state, scores, ctx):
    visits, loss = state.dynamics.visits.sum(0), state.dynamics.loss.sum(0)  # [N]
    guess = lambda: mixture.noise_rate(loss / jnp.maximum(visits, 1), (visits > 0) & (state.targets.weight > 0))
    return state.targets, {'forget': jax.lax.cond(self.forget < 0, guess, lambda: self.forget)}

  def keep(self, state, epoch):
    return keep_rate(epoch, state.extra['forget'], self.ramp)
