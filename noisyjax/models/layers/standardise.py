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
from sklearn.preprocessing import StandardScaler

_LEAST = 1e-3  # minimum standard deviation, so that nearly constant features are not amplified
_BLOCK = 512  # rows; a block of 1,280 features in float64 has 5 MB


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
  else:
    mean, deviation = _moments(np.asarray(features))
  found = {'mean': jnp.float32(mean), 'deviation': jnp.maximum(jnp.float32(deviation), _LEAST)}
  return {**variables, 'batch_stats': {**variables['batch_stats'], 'standardise': found}}


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean and the standard deviation of each column, float64 [F].

  A float32 sum over many rows is inexact on CPUs, and all rows at once in float64 would need twice their memory.
  """
  scaler = StandardScaler()
  for start in range(0, len(values), _BLOCK):
    scaler.partial_fit(values[start : start + _BLOCK].astype(np.float64))
  return scaler.mean_, np.sqrt(scaler.var_)
