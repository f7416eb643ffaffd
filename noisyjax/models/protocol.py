"""What the program expects of a model: a file in this folder with a class `Model`.

There are two kinds. A `Trained` model is a Flax module that gradient steps train. A `Fitted` model is a classic
estimator that one call fits. Both are dataclasses: each field has a default value and becomes a field of the config,
except those that the program sets: `classes`, `dtype` and `conv`.

What else a `Trained` model may have, all optional:

* `conv: str`, a field: the kind of convolution, see `models.layers.conv`. "auto" in the config becomes the fastest kind
  that the machine has.
* `dtype: str`, a field: the compute type.
* `calibrate`, see `Calibrated`.
* `raw = True`, a class attribute: the model takes pixels in 0..255, and nothing normalizes them.
* `takes_features = True`, a class attribute: the model takes feature vectors instead of images.
* `order() -> tuple[str, ...]`: the names of the blocks from input to output, for `optim.layer_decay`. To a block belong
  the layers of its name and those whose names continue it after an underscore ("stem": "stem_conv", "stem_norm").
* `published_name`, see `models.weights.pretrained`.

The last layer is named "head": `reset='head'` and pretrained weights depend on it.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Trained(Protocol):
  """A Flax module with `__call__(images, train) -> (logits, features)`.

  images are normalized, float32 [B, H, W, C]; logits [B, classes] and features [B, F] are float32.
  """

  def init(self, *args: Any, **kwargs: Any) -> Any:
    """Returns new variables, as `flax.linen.Module.init` does."""

  def apply(self, *args: Any, **kwargs: Any) -> Any:
    """Calls the model with given variables, as `flax.linen.Module.apply` does."""


@runtime_checkable
class Fitted(Protocol):
  """A classic estimator without gradients and random numbers."""

  def fit(self, images: np.ndarray, labels: np.ndarray) -> Mapping[str, np.ndarray]:
    """Returns the fitted arrays by name.

    Args:
      images: uint8 [N, H, W, C].
      labels: int [N]; rows labeled -1 are ignored.
    """
    ...

  def predict_proba(self, state: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Returns class probabilities [N, classes].

    Args:
      state: what `fit` returned.
      images: uint8 [N, H, W, C].
    """
    ...


@runtime_checkable
class Calibrated(Protocol):
  """A `Trained` model with a layer that is computed from training images before training."""

  def calibrate(self, variables: Any, images: Any) -> Any:
    """Returns the variables with that layer set.

    Args:
      variables: new variables of one network.
      images: normalized training images, float32 [n, H, W, C].
    """


def is_trained(model: Any) -> bool:
  """Returns whether a model (a class or an instance) is `Trained`: by steps, not fitted at once."""
  return issubclass(model if isinstance(model, type) else type(model), Trained)


def is_model(model: Any) -> bool:
  """Returns whether a class or an instance is a model of either kind."""
  return is_trained(model) or issubclass(model if isinstance(model, type) else type(model), Fitted)
