"""Softmax regression on features [B, V, 1, F]: standardization, dropout and one linear layer."""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.standardise import Standardise, standardised


class Model(nn.Module):
  """A linear model. Of the V views of an image it uses the first.

  Attributes:
    classes: number of classes.
    dropout: fraction of the features that is set to zero during training.
  """

  raw: ClassVar[bool] = True
  takes_features: ClassVar[bool] = True

  classes: int
  dropout: float = 0.1

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and the standardized features `[B, F]`.

    Args:
      images: features of B images in V views, `[B, V, 1, F]`.
      train: whether dropout is active.
    """
    features = Standardise(name='standardise')(images[:, 0, 0])
    return nn.Dense(self.classes, name='head')(Dropout(self.dropout)(features, train)), features

  def calibrate(self, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """Returns the variables with the mean and standard deviation of the features set.

    Args:
      variables: new variables of one network.
      images: features of the training rows, `[N, V, 1, F]`.
    """
    return standardised(variables, images[:, 0, 0])
