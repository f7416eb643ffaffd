"""A network with one hidden ReLU layer on features [B, V, 1, F], with standardization and dropout."""

from typing import Any, ClassVar

import flax.linen as nn
import jax

from noisyjax.models.layers.dropout import Dropout
from noisyjax.models.layers.standardise import Standardise, standardised


class Model(nn.Module):
  """A multilayer perceptron. Of the V views of an image it uses the first.

  Attributes:
    classes: number of classes.
    hidden: width of the hidden layer.
    dropout: fraction of the features, and of the hidden layer, that is set to zero during training.
  """

  raw: ClassVar[bool] = True
  takes_features: ClassVar[bool] = True

  classes: int
  hidden: int = 256
  dropout: float = 0.2

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Returns logits `[B, classes]` and the activations of the hidden layer `[B, hidden]`.

    Args:
      images: features of B images in V views, `[B, V, 1, F]`.
      train: whether dropout is active.
    """
    x = Dropout(self.dropout)(Standardise(name='standardise')(images[:, 0, 0]), train)
    hidden = nn.relu(nn.Dense(self.hidden, kernel_init=nn.initializers.he_normal(), name='hidden')(x))
    return nn.Dense(self.classes, name='head')(Dropout(self.dropout)(hidden, train)), hidden

  def calibrate(self, variables: dict[str, Any], images: jax.Array) -> dict[str, Any]:
    """Returns the variables with the mean and standard deviation of the features set.

    Args:
      variables: new variables of one network.
      images: features of the training rows, `[N, V, 1, F]`.
    """
    return standardised(variables, images[:, 0, 0])
