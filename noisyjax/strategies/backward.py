"""Backward correction (Patrini et al. 2017, theorem 1): a loss whose mean over given labels is that of the true label.

Loss (T⁻¹ ℓ)_ỹ with ℓ_c = −log p_c and T[true, given]; it is unbiased, and negative at times. Everything else, the plan
and where T comes from included, is forward correction's.
As in the official code p is at least 1e-7: with weights of both signs the loss has no least value otherwise.
Departure: a T that has no inverse is given its pseudo-inverse.
"""

import jax.numpy as jnp

from noisyjax.engine import losses
from noisyjax.engine.strategy import Array, PyTree
from noisyjax.strategies.forward import Strategy as Forward


class Strategy(Forward):
  """One network under the inverse of T."""

  def use(self, matrix: Array) -> dict[str, Array]:
    return {'matrix': matrix, 'inverse': jnp.linalg.pinv(matrix)}

  def corrected(self, logits: Array, target: Array, extra: PyTree) -> Array:
    return losses.backward_corrected(logits, target, extra['inverse'])
