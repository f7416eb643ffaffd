"""Standardizes features by their mean and standard deviation over the training rows, and divides them by sqrt(F).

The mean and the standard deviation are computed once. After the division a feature vector has length 1 (root mean
square over the training rows), so the bias of a following layer learns as fast as its weights. This matters if most
rows are of one class: the mean lies in that class, and only the bias can move the decision boundary away from it.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_LEAST = 1e-3  # minimum standard deviation, so that nearly constant features are not amplified


class Standardise(nn.Module):
  """A layer that standardizes features [B, F].

  The mean and standard deviation, both [F], are statistics ("batch_stats") and not parameters, so optimizers, weight
  decay and resets do not change them.
  """

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, F] -> [B, F]
    mean = self.variable('batch_stats', 'mean', jnp.zeros, x.shape[-1])
    deviation = self.variable('batch_stats', 'deviation', jnp.ones, x.shape[-1])
    return (x - mean.value) / (deviation.value * math.sqrt(x.shape[-1]))


def standardised(variables: dict[str, Any], features: jax.Array | np.ndarray) -> dict[str, Any]:
  """Returns the variables with the statistics of the layer 'standardise' set.

  Args:
    variables: variables of one network.
    features: features of the training rows, [N, F].
  """
  if isinstance(features, jax.core.Tracer):  # abstract values: only shapes matter
    mean, deviation = features.mean(0), features.std(0)
  else:  # in float64: a float32 sum over many rows is inexact on CPUs
    values = np.asarray(features)
    mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
  found = {'mean': jnp.float32(mean), 'deviation': jnp.maximum(jnp.float32(deviation), _LEAST)}
  return {**variables, 'batch_stats': {**variables['batch_stats'], 'standardise': found}}
