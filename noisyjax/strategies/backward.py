"""Backward correction (Patrini et al. 2017, theorem 1): a loss whose mean over given labels is the clean loss.

The unbiased loss is (T⁻¹ ℓ)_ỹ with ℓ_c = −log p_c and T[true, given]. It may be negative. All else, including the plan
and the estimate of T, is as in forward correction. As in the official code, p is at least 1e-7: with weights of both
signs, the loss would otherwise be unbounded below.

Departure: a singular T is replaced by its pseudo-inverse.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, PyTree
from noisyjax.strategies.forward import Strategy as Forward


class Strategy(Forward):
  """One network, trained with the loss that the inverse of T corrects."""

  def use(self, matrix: Array) -> dict[str, Array]:
    return {'matrix': matrix, 'inverse': jnp.linalg.pinv(matrix)}

  def corrected(self, logits: Array, target: Array, extra: PyTree) -> Array:
    return losses.backward_corrected(logits, target, extra['inverse'])
