"""Mixtures of the chosen rows of a batch with each other: mixup, and FMix (Harris et al. 2020), which pastes regions.

The network axis M comes first: each network has its own chosen rows, targets and mixtures.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from noisyjax.estimate import rank
from noisyjax.strategies.shared import semi


def mixup(key: Array, alpha: Array | float, images: Array, targets: Array, chosen: Array) -> tuple[Array, Array]:
  """Mixes each chosen row with another one; each network draws one λ' = max(λ, 1 − λ), λ ~ Beta(α, α).

  Args:
    key: random key.
    alpha: parameter of Beta(α, α).
    images: [B, H, W, C].
    targets: [M, B, classes].
    chosen: bool [M, B]; mixtures of other rows have no meaning.

  Returns:
    Images [M, B, H, W, C] and targets [M, B, classes].
  """
  share_key, partner_key = jax.random.split(key)
  share = semi.share(share_key, alpha, (len(chosen),))
  return _mixed(share[:, None, None, None, None], share, semi.partners(partner_key, chosen), images, targets)


def fmix(key: Array, images: Array, targets: Array, chosen: Array) -> tuple[Array, Array]:
  """Pastes regions of another chosen row into each one, with one mask for each network; targets become one class first.

  The arguments and results are those of `mixup`.
  """
  mask_key, partner_key = jax.random.split(key)
  share, kept = jax.vmap(lambda key: mask(key, *images.shape[1:3]))(jax.random.split(mask_key, len(chosen)))
  classes = jax.nn.one_hot(targets.argmax(-1), targets.shape[-1])
  return _mixed(kept[:, None, :, :, None], share, semi.partners(partner_key, chosen), images, classes)


def _mixed(part: Array, share: Array, partner: Array, images: Array, targets: Array) -> tuple[Array, Array]:
  """Mixes rows with their partners, int [M, B]: images by `part` [M, 1, …], targets by `share` [M]."""
  mates, share = jnp.take_along_axis(targets, partner[..., None], 1), share[:, None, None]
  return part * images + (1 - part) * images[partner], share * targets + (1 - share) * mates


def mask(key: Array, height: int, width: int, decay: float = 3.0) -> tuple[Array, Array]:
  """Draws the mask of a batch, as in ProMix (Justherozen/ProMix, utils/fmix.py, lines 96-227, revision 40d8378).

  The pixels of a random image whose amplitudes fall with the frequency as 1 / f^decay are ranked; the mask has the
  highest ones.

  Args:
    key: random key.
    height: of the images, in pixels.
    width: of the images, in pixels.
    decay: exponent of the fall.

  Returns:
    The share of the mask, uniform in [0, 1], and the mask, float32 [height, width] of 0 and 1, whose mean is the share
    rounded up or down to whole pixels, by chance.
  """
  share_key, noise_key, round_key = jax.random.split(key, 3)
  frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
  amplitude = np.maximum(frequency, 1 / max(height, width)) ** -decay
  real, imaginary = jax.random.normal(noise_key, (2, *amplitude.shape))
  picture = jnp.fft.irfft2(amplitude * (real + 1j * imaginary), (height, width)).ravel()
  share = jax.random.uniform(share_key)
  total = height * width
  count = jnp.where(jax.random.bernoulli(round_key), jnp.ceil(share * total), jnp.floor(share * total))
  return share, (rank.place(-picture) < count).astype(jnp.float32).reshape(height, width)
