"""Transition matrices: their estimates on planted ones, the losses they correct, and the strategies that use them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  EYE,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  assert_descended,
  descended,
  entered,
  logits_of,
  mean_error,
  notices,
  phase_of,
  rows_of,
  softmax,
  without,
)
from numpy.testing import assert_allclose, assert_array_equal
from test_confident import drawn, reference

import tiny
from noisyjax.engine import losses, train
from noisyjax.estimate import confident, transition
from noisyjax.strategies import backward, confident_learning, fine_tune, fold_networks, forward, glc
from noisyjax.system.errors import UserError
from tiny import CLASSES, ROOT, ROWS

PLANTED = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.1, 0.6]])
KNOWN = tuple(map(tuple, PLANTED.tolist()))
TRUSTED = (DATA.verified >= 0) & IN


# --- losses ---------------------------------------------------------------------------------------


def test_worked_values():
  logits, target, matrix = jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.eye(3)[1], 0.7 * jnp.eye(3) + 0.1
  assert_allclose(losses.forward_corrected(logits, target, matrix), 1.4271164, rtol=1e-6)
  assert_allclose(losses.backward_corrected(logits, target, jnp.linalg.inv(matrix)), 1.6893830, rtol=1e-6)


def test_backward_is_the_clean_loss_on_average_over_given_labels():
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 1, CLASSES)) * 2, jnp.float32)
  each = losses.backward_corrected(logits, jnp.eye(CLASSES), jnp.linalg.inv(jnp.array(PLANTED)))  # [5, given]
  assert_allclose(each @ PLANTED.T, -jax.nn.log_softmax(logits)[:, 0], rtol=1e-4, atol=1e-5)
  assert (each < 0).any()


@pytest.mark.parametrize('loss', [losses.forward_corrected, losses.backward_corrected])
def test_without_noise_it_is_cross_entropy_and_an_unlabeled_row_costs_nothing(loss):
  logits, target = jnp.array([[2.0, -1.0, 0.5]] * 3), jnp.array([[0.0, 1, 0], [0.3, 0, 0.7], [0, 0, 0]])
  assert_allclose(jax.jit(loss)(logits, target, jnp.eye(3)), losses.cross_entropy(logits, target), rtol=1e-5)
  grad = jax.jit(jax.grad(lambda z: loss(z, target, jnp.eye(3)).sum()))(logits)
  assert_allclose(grad, (softmax(np.array(logits)) - target) * (target.sum(-1, keepdims=True) > 0), atol=1e-6)
  assert_array_equal(grad[2], 0)


def test_forward_still_learns_from_a_confident_mistake_and_backward_is_bounded():
  logits = jnp.array([[30.0, 0, 0]])
  gradient = jax.jit(jax.grad(lambda z: losses.forward_corrected(z, jnp.eye(3)[1], jnp.eye(3)).sum()))
  assert_allclose(gradient(logits), [[1, -1, 0]], atol=1e-5)
  assert np.isfinite(gradient(1e4 * logits)).all()
  far = losses.backward_corrected(jnp.array([[1e4, 0, 0]]), jnp.eye(3)[0], jnp.linalg.inv(jnp.array(PLANTED)))
  assert np.isfinite(far) and far > -50


# --- estimates ------------------------------------------------------------------------------------


def planted(n=6000, seed=0):
  """Returns true and given labels of n rows under PLANTED, and the noisy posterior of a perfect network."""
  rng = np.random.default_rng(seed)
  true = rng.integers(0, CLASSES, n)
  given = (rng.random((n, 1)) > PLANTED[true].cumsum(1)).sum(1)
  return true, given, PLANTED[true]


def everybody(n):
  return jnp.ones(n, bool)


@pytest.mark.parametrize('percentile', [97.0, 100.0])
def test_anchors_find_the_matrix_of_a_perfect_network(percentile):
  _, _, probs = planted(300)
  assert_allclose(transition.anchors(probs, everybody(300), percentile), PLANTED, rtol=1e-6)


@pytest.mark.parametrize('n, percentile, place', [(100, 97.0, 96), (101, 97.0, 96), (100, 100.0, 99), (1, 97.0, 0)])
def test_the_anchor_is_the_row_at_the_percentile(n, percentile, place):
  rng = np.random.default_rng(0)
  first = rng.permutation(n) / n  # p_0: all different
  probs = np.stack([first, (1 - first) * 0.4, (1 - first) * 0.6], 1)
  wide = np.concatenate([probs, [[0.999, 0.001, 0]] * 3])  # rows that do not count
  found = transition.anchors(wide, jnp.arange(n + 3) < n, percentile)
  assert_allclose(found[0], probs[first.argsort()[place]], rtol=1e-5)
  assert_allclose(found[1], probs[probs[:, 1].argsort()[place]], rtol=1e-5)


def test_pairs_count_the_matrix_and_only_rows_with_both_labels():
  true, given, _ = planted()
  true[:1000], given[1000:2000] = -1, -1
  keep = np.arange(6000) < 5000
  found = transition.from_pairs(jnp.array(true), jnp.array(given), CLASSES, jnp.array(keep))
  assert_allclose(found, PLANTED, atol=0.04)
  both = (true >= 0) & (given >= 0) & keep
  want = np.array([[((true == i) & (given == j) & both).sum() for j in range(3)] for i in range(3)]) + 1 / 3
  assert_allclose(found, want / want.sum(1, keepdims=True), rtol=1e-6)


def test_gold_is_the_mean_prediction_of_the_trusted_rows_of_each_class():
  true, _, probs = planted(500)
  verified = np.where(np.arange(500) < 100, true, -1)
  noisy = np.random.default_rng(1).dirichlet(np.ones(3), 500) * 0.2 + probs * 0.8
  noisy[400:] = np.nan  # of rows that do not count
  found = transition.gold(jnp.array(noisy), jnp.array(verified), CLASSES, jnp.arange(500) < 90)
  want = [noisy[:90][true[:90] == c].mean(0) for c in range(3)]
  assert_allclose(found, want, rtol=1e-5)


def test_the_joint_of_a_perfect_network_gives_the_matrix():
  true, given, _ = planted()
  probs = jnp.asarray(0.1 * np.random.default_rng(2).dirichlet(np.ones(3), 6000) + 0.9 * EYE[true])
  found = transition.from_joint(jax.jit(confident.joint)(probs, jnp.array(given)))
  assert_allclose(found, PLANTED, atol=0.04)


def test_a_class_of_which_nothing_is_known_keeps_its_label():
  nobody, labels = jnp.zeros(4, bool), jnp.full(4, -1)
  probs = jnp.full((4, 3), 1 / 3)
  for found in (
    transition.anchors(probs, nobody),
    transition.from_pairs(labels, jnp.zeros(4, int), 3),
    transition.gold(probs, labels, 3),
    transition.from_joint(jnp.zeros((3, 3))),
  ):
    assert_allclose(found, EYE, atol=1e-6)
  some = transition.from_pairs(jnp.array([1, 1]), jnp.array([0, 1]), 3)
  assert_allclose(some, [[1, 0, 0], [4 / 9, 4 / 9, 1 / 9], [0, 0, 1]], rtol=1e-6)


# --- strategies -----------------------------------------------------------------------------------


def forward_error(p, label, matrix):
  """Gradient of −log (pT)_ỹ by the logits: p − p T[·, ỹ] / (pT)_ỹ."""
  column = matrix[:, label].T  # [B, C]
  return p - p * column / (p * column).sum(-1, keepdims=True)


def backward_error(p, label, matrix):
  """Gradient of Σ_c T⁻¹[ỹ, c] ℓ_c: its weights sum to 1."""
  return p - np.linalg.inv(matrix)[label]


def by_anchors(probs):
  rows = np.flatnonzero(IN)
  place = int(np.ceil(0.8 * (len(rows) - 1))) - 1
  return np.stack([probs[rows[probs[rows, i].argsort()[place]]] for i in range(CLASSES)])


def by_joint(probs):
  joint = reference(probs[LABELED].astype(np.float32).astype(float), DATA.given[LABELED])['joint'].T
  return joint / joint.sum(1, keepdims=True)


def by_pairs(probs):
  counts = 0 * EYE
  for v, g in zip(DATA.verified[TRUSTED & LABELED], DATA.given[TRUSTED & LABELED]):
    counts[v, g] += 1
  counts = np.where(counts.any(1, keepdims=True), counts + 1 / CLASSES, EYE)
  return counts / counts.sum(1, keepdims=True)


def by_gold(probs):
  rows = [TRUSTED & (DATA.verified == c) for c in range(CLASSES)]
  assert sorted(r.any() for r in rows) == [False, True, True]  # class 0 has no gold
  return np.stack([probs[r].mean(0) if r.any() else EYE[c] for c, r in enumerate(rows)])


CORRECTED = {
  'forward': (forward.Strategy.build(percentile=80.0), by_anchors),
  'forward_joint': (forward.Strategy.build(estimate='joint'), by_joint),
  'forward_pairs': (forward.Strategy.build(estimate='pairs'), by_pairs),
  'forward_matrix': (forward.Strategy.build(matrix=KNOWN), lambda probs: PLANTED),
  'backward': (backward.Strategy.build(estimate='pairs'), by_pairs),
  'backward_matrix': (backward.Strategy.build(matrix=KNOWN), lambda probs: PLANTED),
  'glc': (glc.Strategy.build(), by_gold),
}


def check_corrected(name, strategy):
  """T, and one step under it, after an earlier phase of two steps."""
  asks = strategy.refresh_on == 'phase'
  phase, previous, state = entered(strategy, steps=2, reset='all' if asks else 'none')
  # Forward and backward ask the best networks by validation: here those that the earlier phase began with.
  asked = previous.best.params if strategy.asks_best else previous.params['net']
  assert not tiny.same(previous.best.params, previous.params['net'])
  matrix = CORRECTED[name][1](softmax(logits_of(asked, PIXELS)[0]))
  assert_allclose(state.extra['matrix'], matrix, rtol=1e-4, atol=1e-6)
  new, metrics = tiny.advance(phase, state, DATA)
  gold = TRUSTED if name == 'glc' else np.zeros(ROWS, bool)
  label = np.where(gold, DATA.verified, DATA.given)
  index = rows_of((label >= 0) & IN, state)
  net, label = state.params['net'], label[index]
  p = softmax(logits_of(net, PIXELS[index]))  # [1, B, C]
  corrected = (backward_error if name.startswith('backward') else forward_error)(p[0], label, matrix)
  error = np.where(gold[index, None], p[0] - EYE[label], corrected)
  assert_descended(new, *descended(net, PIXELS[index], error[None] / len(index)))
  if name == 'glc':
    per = -np.log(np.where(gold[index], p[0][range(len(index)), label], (p[0] @ matrix)[range(len(index)), label]))
    assert 0 < gold[index].sum() < len(index)
    assert_allclose(tiny.mean(metrics, 'loss'), per.mean(), rtol=1e-4)


@pytest.mark.parametrize('name', CORRECTED)
def test_one_corrected_step_as_the_reference_takes_it_and_no_other(name):
  strategy = CORRECTED[name][0]
  check = functools.partial(check_corrected, name)
  if strategy.scores:
    return notices(check, strategy)
  check(strategy)  # nobody is asked: there is no score to be naive's
  for method in ('loss', 'refresh'):
    with pytest.raises(AssertionError):
      check(without(strategy, method))


def test_what_corrections_are_told_and_plan():
  told = {name: (strategy.needs, len(strategy.phases(name, 20))) for name, (strategy, _) in CORRECTED.items()}
  assert told == {
    'forward': ((), 2),
    'forward_joint': ((), 2),
    'forward_pairs': (('verified',), 1),
    'forward_matrix': (('matrix',), 1),
    'backward': (('verified',), 1),
    'backward_matrix': (('matrix',), 1),
    'glc': (('verified',), 2),
  }
  for name, (strategy, _) in CORRECTED.items():  # only what asks networks for T must come after some
    assert strategy.refresh_on == ('phase' if told[name][1] == 2 else 'epoch')
  two = ('naive', 10, {}), ('forward', 10, {'reset': 'all'})
  assert forward.Strategy.build().phases('forward', 20) == two
  assert glc.Strategy.build().phases('glc', 3) == (
    ('naive', 1, {'rows': 'untrusted', 'labels': 'given'}),
    ('glc', 2, {'reset': 'all'}),
  )


def test_a_matrix_without_an_inverse_is_survived():
  strategy = backward.Strategy.build(matrix=((1.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.5, 0.0)))
  phase, _, state = entered(strategy)
  new, metrics = tiny.advance(phase, state, DATA)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params))
  assert np.isfinite(tiny.mean(metrics, 'objective'))


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'matrix': ((0.5, 0.5), (0.5, 0.5))}, 'matrix: expected a matrix of 3 x 3'),
    ({'matrix': ((1.0, 0.5, 0.0),) * 3}, 'sum to 1'),
    ({'matrix': (0.8, 0.1, 0.1)}, 'matrix: expected a matrix of 3 x 3'),
    ({'estimate': 'anchor'}, "estimate: unknown value 'anchor'"),
  ],
)
def test_mistakes_are_named(fields, message):
  with pytest.raises(UserError, match=message):
    forward.Strategy.build(**fields).init(jax.random.key(0), DATA)


# --- fine-tuning ----------------------------------------------------------------------------------


def check_fine_tune(strategy):
  phase, _, state = entered(strategy, steps=2)
  index = rows_of(TRUSTED, state)
  new, _ = tiny.advance(phase, state, DATA)
  net = state.params['net']
  error = mean_error(logits_of(net, PIXELS[index]), EYE[DATA.verified[index]], np.ones(len(index)))
  assert_descended(new, *descended(net, PIXELS[index], error))


def test_fine_tuning_goes_on_with_verified_labels_alone():
  strategy = fine_tune.Strategy.build()
  notices(check_fine_tune, strategy)
  assert strategy.phases('fine_tune', 120) == (('naive', 108, {}), ('fine_tune', 12, {'optim.lr': 0.001}))
  assert strategy.phases('fine_tune', 2) == (('naive', 1, {}), ('fine_tune', 1, {'optim.lr': 0.001}))


# --- confident learning ---------------------------------------------------------------------------


def folds_and_retraining(folds, strategy, steps=4):
  """Enters both phases; returns them, the first one's state at its start and end, and the second one's at its start."""
  first = phase_of(folds)
  start = tiny.start(first, DATA)
  end, _ = tiny.advance(first, start, DATA, steps)
  second = phase_of(strategy, reset='all')
  state = train.enter(second, 1, DATA, jnp.asarray(DATA.images), ROOT, end, first)
  return first, start, end, second, state


def check_confident_learning(folds, strategy):
  first, start, end, second, state = folds_and_retraining(folds, strategy)
  # Each network takes a step on all folds but its own.
  fold = np.asarray(start.extra['fold'])
  members = LABELED & (fold != np.arange(4)[:, None])
  index = rows_of(members, start)  # [4, B]
  net = start.params['net']
  error = mean_error(logits_of(net, PIXELS[index]), GIVEN[index], np.ones(index.shape))
  assert_descended(tiny.advance(first, start, DATA)[0], *descended(net, PIXELS[index], error))
  # Rows are judged by the network that did not see them.
  probs = softmax(logits_of(end.params['net'], PIXELS))[fold, np.arange(ROWS)][LABELED]
  found = reference(probs.astype(np.float32).astype(float), DATA.given[LABELED])
  flags = np.zeros(ROWS, bool)
  flags[LABELED] = found[strategy.filter]
  assert 3 < flags.sum() < LABELED.sum() - 3
  weight = np.ones(ROWS)
  if strategy.reweight:
    joint = found['joint']
    assert (np.diag(joint) > 0).all()
    weight = np.where(DATA.given >= 0, (joint.sum(0) / np.diag(joint))[DATA.given], 1.0)
  assert_allclose(state.targets.weight, np.where(flags, 0, weight), rtol=1e-5)
  assert_array_equal(state.targets.label, DATA.given)
  assert_array_equal(state.extra['fold'], fold)
  # A new network takes a step on the others.
  index = rows_of(LABELED & ~flags, state)
  net = state.params['net']
  assert not np.allclose(net['head']['kernel'][0], end.params['net']['head']['kernel'][0])
  error = mean_error(logits_of(net, PIXELS[index]), GIVEN[index], weight[index])
  assert_descended(tiny.advance(second, state, DATA)[0], *descended(net, PIXELS[index], error))


@pytest.mark.parametrize('fields', [{}, {'filter': 'predicted_neq_given', 'reweight': True}])
def test_confident_learning_holds_out_folds_and_retrains_as_the_reference(fields):
  folds, strategy = fold_networks.Strategy.build(), confident_learning.Strategy.build(**fields)
  notices(lambda own: check_confident_learning(folds, own), strategy)
  notices(lambda own: check_confident_learning(own, strategy), folds)


def test_the_networks_of_confident_learning_are_asked_about_rows_they_never_saw():
  # What fold 2's rows look like and are called reaches networks 0, 1 and 3 alone.
  phase = phase_of(fold_networks.Strategy.build())
  state = tiny.start(phase, DATA)
  held = np.asarray(state.extra['fold']) == 2
  other = dataclasses.replace(
    DATA, images=np.where(held[:, None, None, None], 255 - np.asarray(DATA.images), DATA.images)
  )
  a, b = (tiny.advance(phase, state, data, 6)[0].params['net']['head']['kernel'] for data in (DATA, other))
  assert_array_equal(a[2], b[2])
  assert all((a[m] != b[m]).any() for m in (0, 1, 3))


def test_folds_are_stratified_and_drawn_from_the_key():
  labels = drawn(0, 997, 5)[1]
  labels[::10] = -1
  draw = lambda key: np.asarray(
    fold_networks.draw_folds(jax.random.key(key), jnp.array(labels), jnp.array(labels >= 0), twin, 4)
  )
  twin = jnp.arange(len(labels))
  fold = draw(0)
  assert_array_equal(fold == -1, labels == -1)
  for c in range(5):
    sizes = np.bincount(fold[labels == c], minlength=4)
    assert sizes.max() - sizes.min() <= 1
  sizes = np.bincount(fold[labels >= 0])
  assert sizes.max() - sizes.min() <= 1
  assert_array_equal(fold, draw(0))
  assert (fold != draw(1)).any()
  twin = jnp.arange(len(labels)) // 2  # rows 0 and 1 are one image, and so on; row 0, 10, … have no label
  fold = draw(0)
  both = (labels[0:-1:2] >= 0) & (labels[1::2] >= 0)
  assert_array_equal(fold[0:-1:2][both], fold[1::2][both])
  assert_array_equal(fold == -1, labels == -1)
  sizes = np.bincount(fold[labels >= 0])  # about 224 each; images are drawn, and their rows come along
  assert sizes.min() > 170 and sizes.max() < 280


def test_rows_of_one_image_are_held_out_together():
  images = np.array(DATA.images)
  images[30:40] = images[20:30]
  data = dataclasses.replace(DATA, images=images)
  fold = np.asarray(entered(fold_networks.Strategy.build(), epoch=0, data=data)[-1].extra['fold'])
  assert_array_equal(fold[30:40], fold[20:30])
  assert len(np.unique(fold[20:30])) > 1


def test_confident_learning_plans_folds_and_one_new_network():
  first, second = confident_learning.Strategy.build().phases('confident_learning', 21)
  assert first == ('fold_networks', 10, {})
  assert second == ('confident_learning', 11, {'reset': 'all'})


def test_confident_learning_says_what_must_come_before_it():
  with pytest.raises(UserError, match="needs the networks of 'fold_networks'"):
    entered(confident_learning.Strategy.build(), reset='all')
  with pytest.raises(UserError, match='filter: unknown value'):
    confident_learning.Strategy.build(filter='prune').init(jax.random.key(0), DATA)
