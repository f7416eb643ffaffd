"""APL against float64 numpy: the loss from its definition, its slope by differences, one step of the engine."""

import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  GIVEN,
  LABELED,
  PIXELS,
  assert_descended,
  descended,
  draw,
  entered,
  logits_of,
  loss_of,
  notices,
  rows_of,
  softmax,
)
from numpy.testing import assert_allclose

import tiny
from noisyjax.strategies import active_passive
from tiny import BATCH, CLASSES

APL = active_passive.Strategy.build(alpha=2.0, beta=0.5)


def reference(logits, target, alpha=2.0, beta=0.5):
  """α · CE(y) / Σ_c CE(c) + β · −Σ_c p_c log max(y_c, 1e-4), per example: logits [..., C], labels one-hot [..., C]."""
  p = softmax(logits)
  every = -np.log(p)
  active = (target * every).sum(-1) / every.sum(-1)
  return alpha * active - beta * (p * np.log(np.maximum(target, 1e-4))).sum(-1)


def slope(loss, logits, step=1e-6):
  """Gradient of the sum of a loss per example, by central differences."""
  out = np.zeros_like(logits)
  for c in range(logits.shape[-1]):
    nudge = step * np.eye(logits.shape[-1])[c]
    out[..., c] = (loss(logits + nudge) - loss(logits - nudge)) / (2 * step)
  return out


def check(strategy):
  phase, _, state = entered(strategy)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  net = state.params['net']
  logits = logits_of(net, PIXELS[index])
  of_logits = lambda z: reference(z, GIVEN[index])
  assert_descended(new, *descended(net, PIXELS[index], slope(of_logits, logits) / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), of_logits(logits).mean(), rtol=1e-4)


def test_one_step_as_the_reference_takes_it_and_no_other():
  notices(check, APL)


def test_loss_and_gradient_of_given_logits():
  logits, label, weight = draw(BATCH)
  loss, metrics, grad = loss_of(APL, logits[:1], label, weight, 0)
  z, target = np.asarray(logits[:1], np.float64), np.eye(CLASSES)[np.asarray(label)]
  of_logits = lambda z: reference(z, target)
  assert_allclose(metrics['loss'], of_logits(z), rtol=1e-4)
  assert_allclose(loss, of_logits(z).mean(), rtol=1e-5)
  assert_allclose(grad, slope(of_logits, z) / BATCH, rtol=1e-3, atol=1e-6)


def test_both_parts_sum_to_a_constant_over_the_labels():
  # What makes each robust to symmetric noise (lemmas 1 and 2 of the paper): NCE's to 1, RCE's to 9.21 (C − 1).
  logits = draw(BATCH)[0]
  every = [jnp.broadcast_to(row, (BATCH, CLASSES)) for row in jnp.eye(CLASSES)]
  active = sum(active_passive.normalized_cross_entropy(logits, target) for target in every)
  assert_allclose(active, 1.0, rtol=1e-5)
  passive = sum(reference(np.asarray(logits, np.float64), np.asarray(t), alpha=0.0, beta=1.0) for t in every)
  assert_allclose(passive, -np.log(1e-4) * (CLASSES - 1), rtol=1e-6)


def test_mean_absolute_error_is_reverse_cross_entropy_by_a_factor():
  z, y = np.random.default_rng(0).normal(size=(5, CLASSES)), np.eye(CLASSES)[[0, 1, 2, 0, 1]]
  assert_allclose(reference(z, y, 0.0, 1.0), -np.log(1e-4) * (1 - (softmax(z) * y).sum(-1)), rtol=1e-9)
  assert -np.log(1e-4) == pytest.approx(9.21, abs=1e-3)
