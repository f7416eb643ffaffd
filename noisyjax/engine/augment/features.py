"""Operations on features [V, 1, F] (see `noisyjax.data.features`), which replace the operations on pixels.

Dropout of features is part of the models, after they standardise the features: a feature may have a mean that is many
standard deviations from zero, and zeroing it earlier would make it an outlier.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.augment.strength import Strength

NOISE = 0.05  # standard deviation of the factors of `feature_noise`


def feature_view(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Rotates the V cached views so that a random one comes first; models use the first view."""
  del strength
  return jnp.roll(image, -jax.random.randint(key, (), 0, image.shape[0]), 0)


def feature_noise(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Multiplies each feature by a normal factor of mean 1, so that the noise is proportional to the feature."""
  del strength
  return image * (1 + NOISE * jax.random.normal(key, image.shape))


FEATURE_OPS = (feature_view, feature_noise)
