"""Small-loss selection: networks learn right labels first, so rows with a small loss mostly have right labels."""

import jax
import jax.numpy as jnp

from noisyjax.engine.strategy import (
  Array,
  Batch,
  Ctx,
  Out,
  PyTree,
  Scores,
  Strategy,
  Targets,
  Traced,
  TrainData,
  TrainState,
  supervised,
)
from noisyjax.estimate import mixture
from noisyjax.estimate.rank import place


def keep_rate(epoch: Array | float, forget: Array | float, ramp: Array | float) -> Array:
  """Returns R(T) = 1 − τ·min(T / (T_k − 1), 1), the fraction of a batch that is kept in epoch T.

  Args:
    epoch: T, from 0.
    forget: τ, the final fraction that is dropped.
    ramp: T_k, the epochs until then; 0: from the first epoch.
  """
  return 1 - forget * jnp.where(ramp > 0, jnp.minimum(epoch / jnp.maximum(ramp - 1, 1e-6), 1.0), 1.0)


def smallest(per: Array, valid: Array, keep: Array | float) -> Array:
  """Returns the floor(keep · n) rows with the smallest values among the n valid rows, bool [M, B].

  Args:
    per: values [M, B].
    valid: bool [B].
    keep: fraction to keep.
  """
  per = jnp.where(valid, per, jnp.inf)
  # 1e-3 compensates for rounding in float32: 0.7f · 100 is 69.99….
  return valid & (place(per) < jnp.floor(keep * valid.sum(-1, keepdims=True) + 1e-3))


class Forgetful(Strategy):
  """Base of co-teaching and its successors: two networks that drop an increasing fraction of each batch.

  Attributes:
    forget: τ, the final fraction of each batch that is dropped: the noise rate, which the method is told. A value below
      0 stands for an estimate: the share of large losses in a Gaussian mixture of the mean loss of each row over
      networks and epochs so far.
    ramp: T_k, the number of epochs over which the fraction rises to τ.
    official: whether to follow the authors' code where it departs from the paper. Its loops begin with epoch 1: the
      fraction is that of the next epoch.
  """

  networks = 2
  mix = None
  estimable = ('forget',)
  forget: Traced = 0.2
  ramp: Traced = 10.0
  official: bool = False

  @property
  def needs(self) -> tuple[str, ...]:
    return ('rate',) if self.forget > 0 else ()

  def init(self, key: Array, data: TrainData) -> tuple[PyTree, PyTree]:
    return {}, {'forget': jnp.zeros((), jnp.float32)}

  def refresh(self, state: TrainState, scores: Scores, ctx: Ctx) -> tuple[Targets, PyTree]:
    visits, loss = state.dynamics.visits.sum(0), state.dynamics.loss.sum(0)  # [N]
    guess = lambda: mixture.noise_rate(loss / jnp.maximum(visits, 1), (visits > 0) & (state.targets.weight > 0))
    return state.targets, {'forget': jax.lax.cond(self.forget < 0, guess, lambda: self.forget)}

  def keep(self, state: TrainState, epoch: Array) -> Array:
    """Returns the fraction of a batch that is kept in this epoch."""
    return keep_rate(epoch + 1 if self.official else epoch, state.extra['forget'], self.ramp)

  def taught(self, per: Array, batch: Batch, logits: Array, own: Array) -> tuple[Array, Out]:
    """Returns the loss and `Out` of two networks, each of which learns the rows that its peer selects.

    Args:
      per: losses, [2, B].
      batch: the batch.
      logits: [2, B, C].
      own: rows that each network selects, bool [2, B].
    """
    loss, out = supervised(per, batch, logits, chosen=own[::-1])
    if self.official:  # the code divides a mean by the number of its rows
      count = jnp.maximum(own[0].sum(), 1)  # both networks select equally many
      return loss / count, out
    return loss, out
