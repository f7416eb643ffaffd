"""One hidden layer on features [B, V, 1, F]: each feature standardised by the training rows, dropout, ReLU, dropout."""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.standardise import Standardise, standardised


class Model(nn.Module):
  """The first of V views is seen.

  Attributes:
    classes: number of classes.
    hidden: width of the hidden layer.
    dropout: part of the features, and of the hidden layer, that is zeroed while training.
  """

  raw: ClassVar[bool] = True
  takes_features: ClassVar[bool] = True

  classes: int
  hidden: int = 256
  dropout: float = 0.2

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and the hidden layer `[B, hidden]`, of features `[B, V, 1, F]`."""
    x = Dropout(self.dropout)(Standardise(name='standardise')(images[:, 0, 0]), train)
    hidden = nn.relu(nn.Dense(self.hidden, kernel_init=nn.initializers.he_normal(), name='hidden')(x))
    return nn.Dense(self.classes, name='head')(Dropout(self.dropout)(hidden, train)), hidden

  def calibrate(self, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """Returns `variables` with the mean and deviation of features [N, V, 1, F]."""
    return standardised(variables, images[:, 0, 0])
