"""MixMatch and DivideMix against references in float64 numpy, whose mixup replays the step's key."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  BATCH,
  DATA,
  EPOCH,
  EYE,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  low_part,
  mirroring,
  mixed,
  notices,
  phase_of,
  rows_of,
  sharpened,
  softmax,
  step_key,
  views,
)
from numpy.testing import assert_allclose, assert_array_equal

import runs
import tiny
from noisyjax.config.build import build_strategy
from noisyjax.config.check import checked
from noisyjax.config.plan import phases_of
from noisyjax.data.training import TrainData
from noisyjax.engine import between_epochs
from noisyjax.engine.state import Targets
from noisyjax.strategies import divide_mix, mixmatch
from noisyjax.strategies.shared import semi
from tiny import CLASSES, ROWS

TRUSTED = (DATA.verified >= 0) & IN
REST = ~TRUSTED & IN
MIX = mixmatch.Strategy.build(source='verified', lambda_u=10.0, alpha=2.0)
DIVIDE = divide_mix.Strategy.build(lambda_u=10.0, threshold=0.6)


# --- the reference --------------------------------------------------------------------------------


def through_softmax(p, g):
  """Gradient by the logits, from that by the probabilities."""
  return p * (g - (p * g).sum(-1, keepdims=True))


def reference(logits, target, cut, lambda_u, penalty=0.0):
  """Returns the loss [M], CE and squared error [M], and the gradient by the logits; `cut` rows are labeled."""
  p = softmax(logits)
  ce = cross_entropy(logits[:, :cut], target[:, :cut]).mean(-1)
  gap = ((p - target)[:, cut:] ** 2).mean((-1, -2))
  mean = p.mean(1, keepdims=True)
  prior = (np.log(1 / CLASSES) - np.log(mean)).mean((-1, -2))
  error = penalty * through_softmax(p, -1 / (CLASSES * mean * p.shape[1]) * np.ones_like(p))
  error[:, :cut] += (p - target)[:, :cut] / cut
  tail = lambda_u * 2 * (p - target)[:, cut:] / (CLASSES * (p.shape[1] - cut))
  error[:, cut:] += through_softmax(p[:, cut:], tail)
  return ce + lambda_u * gap + penalty * prior, ce, gap, error


# --- MixMatch -------------------------------------------------------------------------------------


def check_mixmatch(strategy):
  """Epoch 6 of 20: λ_u has risen to 0.3 / 0.4 of 10."""
  phase, _, state = entered(strategy)
  phase = mirroring(phase)
  assert_array_equal(state.masks['labeled'] & IN, TRUSTED)
  assert_array_equal(state.masks['unlabeled'], REST)
  new, metrics = tiny.advance(phase, state, DATA)
  net, seen = state.params['net'], views(MIX, phase, state)
  first, second = seen['unlabeled'].values()
  guess = sharpened((softmax(logits_of(net, first)) + softmax(logits_of(net, second))) / 2)[0]
  pixels = np.concatenate([seen['labeled']['weak'], first, second])
  target = np.concatenate([EYE[DATA.verified[rows_of(TRUSTED)]], guess, guess])
  x, t = mixed(step_key(state), 2.0, pixels[None], target[None])
  loss, _, gap, error = reference(logits_of(net, x), t, BATCH, 7.5)
  assert_descended(new, *descended(net, x, error))
  assert_allclose(tiny.mean(metrics, 'objective'), loss[0], rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'guesses'), gap[0], rtol=1e-4)


def test_one_mixmatch_step_as_the_reference_takes_it_and_no_other():
  notices(check_mixmatch, MIX)


def test_official_settings():
  plain = mixmatch.Strategy.build()
  numbers = [float(v) for v in (plain.temperature, plain.alpha, plain.lambda_u)]
  assert numbers == [0.5, 0.75, 75] and plain.mix is None and plain.needs == ()
  plain = divide_mix.Strategy.build()
  numbers = [float(v) for v in (plain.threshold, plain.temperature, plain.alpha, plain.lambda_u, plain.ramp)]
  assert numbers == [0.5, 0.5, 4, 25, 16] and (plain.warmup, plain.history, plain.mix) == (10, 1, None)


def test_with_verified_labels_alone_a_given_label_reaches_nothing():
  other = TrainData(DATA.images, np.roll(DATA.given, 7), DATA.verified, CLASSES)
  states = []
  for data in (DATA, other):
    phase = phase_of(MIX, data)
    state, metrics = tiny.advance(phase, tiny.start(phase, data), data, 2)
    state = between_epochs.begin_epoch(MIX, state, phase.rows)
    states.append((state.params, state.targets, state.extra, state.masks, state.dynamics, metrics))
  assert tiny.same(*states)


def test_soft_targets_of_the_phase_before_give_way_to_verified_labels():
  soft = jnp.full((4, CLASSES), 1 / CLASSES)
  targets = Targets(jnp.array([0, 1, -1, 2]), soft, jnp.ones(4), jnp.ones((1, 4)))
  state = types.SimpleNamespace(targets=targets, extra={'known': jnp.array([2, -1, -1, 1])})
  new, _ = MIX.refresh(state, {}, None)
  assert_array_equal(new.label, [2, -1, -1, 1])
  assert_array_equal(new.soft, EYE[[2, 0, 0, 1]] * np.array([1, 0, 0, 1])[:, None])
  assert_array_equal(new.labeled, [True, False, False, True])
  assert mixmatch.Strategy.build().refresh(state, {}, None)[0] is targets


# --- DivideMix: one step of the engine ------------------------------------------------------------


def check_divide(strategy):
  """Epoch 6: λ_u has risen to 6 / 16 of 10."""
  phase, _, state = entered(strategy, steps=2)
  phase = mirroring(phase)
  net = state.params['net']
  loss = cross_entropy(logits_of(net, PIXELS), GIVEN)  # [2, N]
  trust = np.stack([low_part(own, LABELED) for own in loss[::-1]])  # the peer's
  assert_allclose(state.targets.trust, trust, rtol=1e-3, atol=1e-4)
  clean = trust > 0.6
  assert (clean[0] != clean[1]).any() and (clean.sum(-1) > 3).all() and ((~clean & LABELED).sum(-1) > 3).all()
  assert_array_equal(state.masks['labeled'], clean & IN)
  assert_array_equal(state.masks['unlabeled'], ~clean & IN)
  new, metrics = tiny.advance(phase, state, DATA)
  i = rows_of(clean & IN)  # [2, B]
  seen = views(DIVIDE, phase, state)
  known, unknown = (list(seen[k].values()) for k in ('labeled', 'unlabeled'))  # two views each, [2, B, P]
  own = lambda x: softmax(logits_of(net, x))
  peer = lambda x: own(x[::-1])[::-1]
  w = np.take_along_axis(trust, i, 1)[..., None]
  refined = sharpened(w * GIVEN[i] + (1 - w) * sum(map(own, known)) / 2)
  guess = sharpened(sum(f(x) for f in (own, peer) for x in unknown) / 4)
  target = np.concatenate([refined, refined, guess, guess], 1)
  x, t = mixed(step_key(state), 4.0, np.concatenate(known + unknown, 1), target)
  loss, _, _, error = reference(logits_of(net, x), t, 2 * BATCH, 10 * EPOCH / 16, penalty=1.0)
  assert_descended(new, *descended(net, x, error))
  assert_allclose(tiny.mean(metrics, 'objective'), loss.sum(), rtol=1e-4)


def test_one_dividemix_step_as_the_reference_takes_it_and_no_other():
  notices(check_divide, DIVIDE)


def test_splits_may_be_empty():
  phase = phase_of(DIVIDE)
  state = tiny.start(phase, DATA)
  ones = np.ones(ROWS, np.float32)
  for trust in (ones * [[1], [1]], ones * [[0], [0]], ones * [[1], [0]]):  # no noisy row, no clean one, one of each
    begun = state.replace(targets=state.targets.replace(trust=jnp.asarray(trust, jnp.float32)))
    begun = between_epochs.begin_epoch(DIVIDE, begun, IN)
    assert (begun.masks['labeled'].sum(-1) == trust[:, 0] * LABELED.sum()).all()
    new, _ = tiny.advance(phase, begun, DATA)
    assert all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(new.params)) and int(new.bad_step) == -1
  # Labels are worth nothing where no row is clean.
  other = state.replace(targets=state.targets.replace(trust=jnp.zeros((2, ROWS)), label=(state.targets.label + 1) % 3))
  zero = state.replace(targets=state.targets.replace(trust=jnp.zeros((2, ROWS))))
  a, b = (tiny.advance(phase, between_epochs.begin_epoch(DIVIDE, s, IN), DATA)[0].params for s in (zero, other))
  assert tiny.same(a, b)


# --- DivideMix's loss alone, with views and networks that differ ----------------------------------

LOOK, GUESS, NET = np.array([2.0, 3.0]), np.array([2.5, 1.7]), np.array([1.0, 1.5])


class Echo:
  """A ctx whose images are its logits, times a factor of the network and of how it is asked."""

  classes, key, epochs = CLASSES, jax.random.key(5), 300.0

  def __init__(self, epoch):
    self.progress = epoch / self.epochs

  def net(self, params, images, keep=True):
    self.seen = images  # by the training pass
    return params * images.reshape(2, -1, CLASSES) * NET[:, None, None], None

  def guess(self, images):
    return images.reshape(2, -1, CLASSES) * GUESS[:, None, None], None

  def look(self, images):
    return images.reshape(2, -1, CLASSES) * LOOK[:, None, None], None


@jax.jit
def graded(strategy, batch, epoch):
  """Returns ((loss, (Out, images of the training pass)), gradient by a factor on all logits)."""
  ctx = Echo(epoch)

  def objective(factor):
    loss, out = strategy.loss(factor, None, batch, ctx)
    return loss, (out, ctx.seen)

  return jax.value_and_grad(objective, has_aux=True)(1.0)


def divide_loss(strategy, epoch=8.0, weight=(1, 1), weight_u=(1, 1)):
  """Returns the loss, Out, whether the training pass saw no blank [2], the gradient, and what the reference expects."""
  rng = np.random.default_rng(3)
  x, x1, u, u1 = (rng.normal(size=(2, 4, 1, 1, CLASSES)) for _ in range(4))
  on, on_u = (np.tile(np.array(w, float)[:, None], 4) for w in (weight, weight_u))
  x, x1, u, u1 = (a * w[..., None, None, None] for a, w in ((x, on), (x1, on), (u, on_u), (u1, on_u)))
  y, trust = EYE[rng.integers(0, CLASSES, (2, 4))], rng.random((2, 4))
  index = np.tile(np.arange(4), (2, 1))
  batch = {
    'labeled': {'weak': x, 'weak1': x1, 'target': y, 'trust': trust, 'weight': on, 'index': index},
    'unlabeled': {'weak': u, 'weak1': u1, 'weight': on_u, 'index': index},
  }
  (loss, (out, seen)), grad = graded(strategy, jax.tree.map(jnp.float32, batch), epoch)
  flat = lambda a: a.reshape(2, 4, CLASSES)
  asked = lambda a, by: softmax(flat(a) * by[:, None, None])
  own = (asked(x, GUESS) + asked(x1, GUESS)) / 2
  refined = sharpened(trust[..., None] * y + (1 - trust[..., None]) * own)
  guess = sharpened(sum(asked(a, by) for a in (u, u1) for by in (GUESS, LOOK[::-1])) / 4)
  images = np.concatenate([flat(a) for a in (x, x1, u, u1)], 1)
  targets = np.concatenate([refined, refined, guess, guess], 1)
  images, targets = mixed(Echo.key, 4.0, images, targets, np.concatenate([on, on, on_u, on_u], 1))
  want = reference(images * NET[:, None, None], targets, 8, 10 * min(epoch / 16, 1), penalty=1.0)
  return float(loss), out, np.asarray(seen).any(-1).all(axis=(1, 2, 3)), float(grad), want


def test_refinement_is_a_network_s_own_and_guesses_are_both_networks():
  loss, out, _, _, want = divide_loss(DIVIDE)
  assert_allclose(loss, want[0].sum(), rtol=1e-4)
  assert_allclose(out.metrics['guesses'][:, 0], want[2], rtol=1e-4)
  assert out.logits.shape == (2, 4, CLASSES)


@pytest.mark.parametrize('epoch, lambda_u', [(0, 0), (1, 1.5625), (8, 12.5), (16, 25), (40, 25)])
def test_the_ramp_of_lambda_u(epoch, lambda_u):
  # 10 epochs of warm-up come before: the official code's epochs 10, 11, 18 and 26.
  loss, out, *_ = divide_loss(divide_mix.Strategy.build(), float(epoch))
  without, *_ = divide_loss(divide_mix.Strategy.build(lambda_u=0.0), float(epoch))
  assert_allclose((loss - without) / out.metrics['guesses'].sum(), lambda_u, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('weight, weight_u', [((1, 0), (0, 1)), ((0, 0), (1, 1)), ((1, 1), (0, 0)), ((0, 0), (0, 0))])
def test_an_empty_split_costs_nothing_and_shows_no_blank(weight, weight_u):
  loss, out, full, grad, (_, ce, gap, _) = divide_loss(DIVIDE, weight=weight, weight_u=weight_u)
  assert np.isfinite([loss, grad]).all()
  terms = np.array(weight) * ce + 5 * np.array(weight_u) * gap + np.asarray(out.metrics['penalty'][:, 0])
  assert_allclose(loss, terms.sum(), rtol=1e-4, atol=1e-6)
  assert_array_equal(out.metrics['penalty'][:, 0] > 0, np.array(weight) + weight_u > 0)
  assert_array_equal(full, np.array(weight) + weight_u > 0)


# --- DivideMix between epochs ---------------------------------------------------------------------


def refreshed(strategy, losses, extra, epoch):
  label = jnp.where(jnp.arange(ROWS) < 5, -1, 0)
  targets = Targets(label, None, jnp.ones(ROWS), jnp.ones((2, ROWS)))
  ctx = types.SimpleNamespace(epoch=jnp.int32(epoch), rows=jnp.arange(ROWS) < 40)
  return strategy.refresh(types.SimpleNamespace(targets=targets, extra=extra), {'loss': losses}, ctx)


def test_each_network_learns_the_other_s_split_and_outsiders_count_nowhere():
  rng = np.random.default_rng(0)
  low, high = rng.normal(0.2, 0.05, (2, ROWS)), rng.normal(3.0, 0.05, (2, ROWS))
  wrong = np.stack([np.arange(ROWS) % 2 == 0, np.arange(ROWS) % 3 == 0])  # by either network's losses
  losses = np.where(wrong, high, low)
  losses[:, :5], losses[:, 40:] = 0.0, 1e6  # unlabeled rows cost nothing; held rows may cost anything
  _, extra = DIVIDE.init(None, DATA)
  targets, extra = refreshed(DIVIDE, jnp.asarray(losses, jnp.float32), extra, 0)
  inside = (np.arange(ROWS) >= 5) & (np.arange(ROWS) < 40)
  assert_array_equal(targets.trust > 0.6, (~wrong & inside)[::-1])
  assert_array_equal(np.asarray(targets.trust)[:, ~inside], 0)
  members = DIVIDE.members(types.SimpleNamespace(targets=targets))
  assert_array_equal(members['labeled'], (~wrong & inside)[::-1])
  assert_array_equal(members['unlabeled'], ~(~wrong & inside)[::-1])


def test_equal_losses_are_clean():
  _, extra = DIVIDE.init(None, DATA)
  targets, _ = refreshed(DIVIDE, jnp.full((2, ROWS), 0.7), extra, 0)
  assert_array_equal(targets.trust[:, 5:40], 1)


def test_the_mixture_may_see_the_mean_of_the_last_losses():
  strategy = divide_mix.Strategy.build(history=3)
  losses = np.random.default_rng(1).gamma(1.0, size=(5, 2, ROWS)).astype(np.float32)
  keep = (np.arange(ROWS) >= 5) & (np.arange(ROWS) < 40)
  _, extra = strategy.init(None, DATA)
  for epoch in range(5):
    again = refreshed(strategy, jnp.asarray(losses[epoch]), extra, epoch)
    targets, extra = refreshed(strategy, jnp.asarray(losses[epoch]), again[1], epoch)  # asked twice, it counts once
    last = losses[max(0, epoch - 2) : epoch + 1, :, 5:40].astype(np.float64)
    scaled = (last - last.min(-1, keepdims=True)) / (last.max(-1) - last.min(-1))[..., None]
    mean = np.zeros(ROWS)
    mean[keep] = scaled.mean(0)[1]
    assert_allclose(targets.trust[0], low_part(mean, keep), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('epochs, lengths', [(300, (10, 290)), (20, (6, 14)), (3, (1, 2)), (1, (1, 1))])
def test_the_plan_warms_up_two_networks(epochs, lengths):
  config = runs.recipe(strategy__name='divide_mix', epochs=epochs)
  plan = phases_of(config)
  assert tuple(p[1] for p in plan) == lengths and [p[0] for p in plan] == ['naive', 'divide_mix']
  assert build_strategy(plan[0][2], 'naive').networks == 2
  checked(config)


def test_semi_s_guard_against_blanks():
  images, others = jnp.zeros((2, 5, 1, 1, 1)), jnp.arange(4.0).reshape(2, 2, 1, 1, 1)
  got = semi.filled(images, jnp.array([[0.0] * 5, [1.0] * 5]), others)[..., 0, 0, 0]
  assert_array_equal(got, [[0, 1, 0, 1, 0], [0] * 5])
