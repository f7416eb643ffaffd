"""Features minus their mean, over their deviation, both computed once from the training rows, at length 1 on average.

At that length a layer's bias learns as fast as its weights: where most rows are of one class, the mean lies in that
class, and only the bias can move the border out of it.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_LEAST = 1e-3  # of a deviation: a feature that hardly varies is not blown up


class Standardise(nn.Module):
  """Mean and deviation [F] are statistics of the data, not parameters: no optimizer, decay or reset reaches them."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:  # [B, F] -> [B, F]
    mean = self.variable('batch_stats', 'mean', jnp.zeros, x.shape[-1])
    deviation = self.variable('batch_stats', 'deviation', jnp.ones, x.shape[-1])
    return (x - mean.value) / (deviation.value * math.sqrt(x.shape[-1]))


def standardised(variables: dict[str, Any], features: jax.Array | np.ndarray) -> dict[str, Any]:
  """Returns variables whose layer 'standardise' has the mean and deviation of features [N, F]."""
  if isinstance(features, jax.core.Tracer):  # only shapes matter
    mean, deviation = features.mean(0), features.std(0)
  else:  # in float64: a float32 sum over many rows is inexact on CPUs
    values = np.asarray(features)
    mean, deviation = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
  found = {'mean': jnp.float32(mean), 'deviation': jnp.maximum(jnp.float32(deviation), _LEAST)}
  return {**variables, 'batch_stats': {**variables['batch_stats'], 'standardise': found}}
