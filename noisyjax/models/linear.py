"""Softmax regression on features [B, V, 1, F]: each feature standardised by the training rows, dropout, one layer."""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.standardise import Standardise, standardised


class Model(nn.Module):
  """The first of V views is seen.

  Attributes:
    classes: number of classes.
    dropout: part of the features that is zeroed while training.
  """

  raw: ClassVar[bool] = True
  takes_features: ClassVar[bool] = True

  classes: int
  dropout: float = 0.1

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and the standardised features `[B, F]`, of features `[B, V, 1, F]`."""
    features = Standardise(name='standardise')(images[:, 0, 0])
    return nn.Dense(self.classes, name='head')(Dropout(self.dropout)(features, train)), features

  def calibrate(self, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """Returns `variables` with the mean and deviation of features [N, V, 1, F]."""
    return standardised(variables, images[:, 0, 0])
