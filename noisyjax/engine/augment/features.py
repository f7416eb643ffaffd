"""Operations on features [V, 1, F] (see `noisyjax.data.features`), in the place of those on pixels.

Dropout of features is the models': a feature whose mean is many deviations from zero cannot be zeroed before it is
standardised.
"""

import jax
import jax.numpy as jnp

from noisyjax.engine.augment.strength import Strength

NOISE = 0.05  # deviation of the factors of `feature_noise`


def feature_view(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """One of the V cached views, drawn anew each time, in the first place, where models look."""
  del strength
  return jnp.roll(image, -jax.random.randint(key, (), 0, image.shape[0]), 0)


def feature_noise(key: jax.Array, image: jax.Array, strength: Strength) -> jax.Array:
  """Each feature times a normal factor around 1: noise of the feature's own scale."""
  del strength
  return image * (1 + NOISE * jax.random.normal(key, image.shape))


FEATURE_OPS = (feature_view, feature_noise)
