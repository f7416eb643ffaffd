"""Mixup: Zhang et al. 2018 (arXiv:1710.09412)."""

import jax
import jax.numpy as jnp


def mixup_pairs(key: jax.Array, alpha: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """Draws the mixing coefficient and the partners of a batch.

  The mixed images are `lam * x + (1 - lam) * x[partner]`, and targets are mixed in the same way.

  Args:
    key: one typed key.
    alpha: traced float >= 0; 0 means no mixing (lam = 1).
    batch: static number of rows.

  Returns:
    lam, a float32 scalar from Beta(alpha, alpha); and partner, int32 [batch], a permutation.
  """
  lam_key, partner_key = jax.random.split(key)
  alpha = jnp.asarray(alpha, jnp.float32)
  safe = jnp.where(alpha > 0, alpha, 1.0)
  lam = jnp.where(alpha > 0, jax.random.beta(lam_key, safe, safe, dtype=jnp.float32), 1.0)
  return lam, jax.random.permutation(partner_key, batch).astype(jnp.int32)
