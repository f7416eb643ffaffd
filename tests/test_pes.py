"""PES and PES (semi) against float64 references: their phases, and the rows that they trust."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import (
  DATA,
  GIVEN,
  IN,
  LABELED,
  PIXELS,
  assert_descended,
  cross_entropy,
  descended,
  entered,
  logits_of,
  mean_error,
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

import tiny
from configs import base
from noisyjax.config.build import build_model
from noisyjax.config.plan import phases_of
from noisyjax.engine import between_epochs
from noisyjax.engine.net import path_matches
from noisyjax.strategies import naive, pes, pes_semi
from tiny import BATCH, CLASSES, ROWS

PES = pes.Strategy.build()
SEMI = pes_semi.Strategy.build(penalty=8.0, most=1.05, warmup=0)  # no epoch of the run before the phase


def believed(net, most=np.inf):
  """Confident rows bool [N], and class weights, under the networks before the epoch."""
  sure = LABELED & (logits_of(net, PIXELS)[0].argmax(-1) == DATA.given)
  count = np.bincount(DATA.given[sure], minlength=CLASSES)
  assert 10 < sure.sum() < LABELED.sum() - 10 and count.all() and count.max() > count.min()
  return sure, np.minimum(count.mean() / count, most)


# --- one step -------------------------------------------------------------------------------------


def check_pes(strategy):
  phase, previous, state = entered(strategy, steps=1)
  new, metrics = tiny.advance(phase, state, DATA)
  sure, weights = believed(previous.params['net'])
  assert_array_equal(state.targets.trust, sure[None])
  assert_allclose(state.extra['class_weight'], weights, rtol=1e-5)
  index = rows_of(sure)
  net = state.params['net']
  logits = logits_of(net, PIXELS[index])
  error = mean_error(logits, GIVEN[index], weights[DATA.given[index]])
  assert_descended(new, *descended(net, PIXELS[index], error))
  assert_allclose(tiny.mean(metrics, 'loss'), cross_entropy(logits, GIVEN[index]).mean(), rtol=1e-4)


def test_pes_steps_as_the_reference_and_no_other():
  notices(check_pes, PES)


def check_semi(strategy, epoch=6):
  """20 epochs: λ_u 8 · 6/16 and α 4 at epoch 6; 8 · 12/16 and 0.75 at epoch 12."""
  phase, previous, state = entered(strategy, steps=1, epoch=epoch)
  phase = mirroring(phase)
  new, _ = tiny.advance(phase, state, DATA)
  sure, weights = believed(previous.params['net'], 1.05)
  assert weights.max() == 1.05
  assert_allclose(state.extra['class_weight'], weights, rtol=1e-5)
  net, seen = state.params['net'], views(SEMI, phase, state)
  known, unknown = (list(seen[k].values()) for k in ('train', 'unlabeled'))  # two views each
  guess = sharpened(sum(softmax(logits_of(net, x)[0]) for x in unknown) / 2)
  label = GIVEN[rows_of(sure)]
  alpha = 4.0 if epoch < 10 else 0.75
  pixels, target = np.concatenate(known + unknown)[None], np.concatenate([label, label, guess, guess])[None]
  pixels, target = mixed(step_key(state), alpha, pixels, target)
  p = softmax(logits_of(net, pixels))
  claim = weights * target[:, : 2 * BATCH]
  supervised = (claim.sum(-1, keepdims=True) * p[:, : 2 * BATCH] - claim) / (2 * BATCH)
  apart = p[:, 2 * BATCH :] - target[:, 2 * BATCH :]
  pull = p[:, 2 * BATCH :] * (apart - (apart * p[:, 2 * BATCH :]).sum(-1, keepdims=True))
  pull *= 8.0 * epoch / 16 * 2 / CLASSES / (2 * BATCH)
  assert_descended(new, *descended(net, pixels, np.concatenate([supervised, pull], 1)))


def test_pes_semi_steps_as_the_reference_and_no_other():
  notices(check_semi, SEMI)
  check_semi(SEMI, epoch=12)


@pytest.mark.parametrize('strategy', [PES, SEMI], ids=['pes', 'pes_semi'])
@pytest.mark.parametrize('trusted', [0.0, 1.0])
def test_empty_splits_leave_a_finite_step(strategy, trusted):
  phase, _, state = entered(strategy)
  trust = jnp.full_like(state.targets.trust, trusted)
  state = between_epochs.begin_epoch(strategy, state.replace(targets=state.targets.replace(trust=trust)), phase.rows)
  new, _ = tiny.advance(phase, state, DATA)
  assert int(new.bad_step) == -1 and all(np.isfinite(a).all() for a in jax.tree.leaves(new.params))
  if trusted == 0 and strategy is PES:
    assert tiny.same(new.params, state.params)


# --- what it believes -----------------------------------------------------------------------------


def test_class_weights():
  label, rows = jnp.array([0, 0, 1, 2, -1]), jnp.array([True, True, True, False, True])
  assert_allclose(pes.class_weights(label, rows, 3), [0.75, 1.5, 0.0])
  assert_allclose(pes.class_weights(label, rows, 3, 1.0), [0.75, 1.0, 0.0])
  assert_array_equal(pes.class_weights(label, rows & False, 3), 0.0)


def test_where_nothing_is_confident_all_labeled_rows_are():
  state = tiny.start(phase_of(PES), DATA)
  ctx = dataclasses.make_dataclass('Rows', ['rows'])(jnp.asarray(IN))
  label = np.asarray(state.targets.label)
  assert_array_equal(pes.confident(jnp.asarray((label + 1) % CLASSES), state, ctx), LABELED)
  one = np.where(np.arange(ROWS) == 5, label, (label + 1) % CLASSES)  # row 5 alone is guessed
  assert_array_equal(pes.confident(jnp.asarray(one), state, ctx), np.arange(ROWS) == 5)
  held = np.where(np.arange(ROWS) == 41, label, (label + 1) % CLASSES)  # a held row is nobody's
  assert_array_equal(pes.confident(jnp.asarray(held), state, ctx), LABELED)


# --- plans ----------------------------------------------------------------------------------------

LENGTHS = {
  'pes': {1: [1], 2: [1, 1], 3: [1, 1, 1], 4: [1, 1, 1, 1], 10: [3, 1, 1, 5], 40: [13, 3, 2, 22], 200: [25, 7, 5, 163]},
  'pes_semi': {1: [1], 2: [1, 1], 3: [1, 1, 1], 10: [4, 1, 5], 200: [20, 5, 175], 300: [20, 5, 275]},
}


@pytest.mark.parametrize('name, epochs', [(n, e) for n, found in LENGTHS.items() for e in found])
def test_plan_fills_the_epochs_and_each_override_is_a_field(name, epochs):
  c = base.get_config()
  c.strategy.name, c.epochs = name, epochs
  phases = phases_of(c)
  assert [n for _, n, _ in phases] == LENGTHS[name][epochs]
  assert [n for n, _, _ in phases] == ['naive'] * (len(phases) - 1) + [name]
  first, *renewed, last = (own for _, _, own in phases) if len(phases) > 1 else (c, c)
  assert (last.reset, last.freeze, last.optim.name, last.optim.lr) == ('none', '', c.optim.name, c.optim.lr)
  c.strategy[name].frozen = True  # the official optimizer does not know the renewed layers
  assert phases_of(c)[-1][-1].freeze == '|'.join(own.reset for own in renewed)
  if len(phases) > 1:
    assert (first.reset, first.schedule.name, first.optim.lr) == ('none', 'constant', c.optim.lr)
  for own in renewed:
    assert (own.optim.name, own.optim.lr, own.optim.decay, own.schedule.name) == ('adam', 1e-4, 0.0, 'constant')


def test_a_stage_of_no_epochs_is_left_out():
  phases = pes.Strategy.build(block_epochs=0).phases('pes', 100)
  assert [(n, o.get('reset')) for _, n, o in phases] == [(25, None), (5, pes.HEAD), (70, None)]


@pytest.mark.parametrize(
  'model, renewed',
  [
    ('resnet18', {'stage4_block1', 'stage4_block2', 'head'}),
    ('preact_resnet18', {'stage4_block1', 'stage4_block2', 'head'}),
    ('cnn9', {'head'}),
    ('small_cnn', {'head'}),
  ],
)
def test_what_begins_anew_and_what_is_frozen_share_out_every_model(model, renewed):
  c = base.get_config()
  c.model.name = model
  shapes = jax.eval_shape(
    lambda: build_model(c, 10).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)['params']
  )
  (_, _, _), (_, _, block), (_, _, head), _ = PES.phases('pes', 200)
  for own, begun in ((block, renewed), (head, {'head'})):
    new, still = (path_matches(own[k], shapes) for k in ('reset', 'freeze'))
    assert {k for k, v in new.items() if any(jax.tree.leaves(v))} == begun
    assert jax.tree.all(jax.tree.map(lambda a, b: a != b, new, still))


def test_cnn9s_block_as_documented():
  c = base.get_config()
  c.model.name = 'cnn9'
  shapes = jax.eval_shape(
    lambda: build_model(c, 10).init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)['params']
  )
  found = path_matches('^(conv[789]|norm[789]|head)/', shapes)
  assert {k for k, v in found.items() if all(jax.tree.leaves(v))} == {
    f'{a}{i}' for a in ('conv', 'norm') for i in (7, 8, 9)
  } | {'head'}


def test_the_head_begins_anew_on_frozen_layers():
  data = DATA
  spec = tiny.spec(1, tiny.Conv())
  first = tiny.phase(naive.Strategy.build(), spec)
  before, _ = tiny.advance(first, tiny.start(first, data), data, 3)
  (_, _, overrides), _ = pes_semi.Strategy.build(warmup=0).phases('pes_semi', 10)
  adam = tiny.optim.Optimizer('adam', freeze=overrides['freeze'])
  second = tiny.phase(naive.Strategy.build(), spec, tiny.hyper(adam, lr=1e-4, decay=0.0), reset=overrides['reset'])
  begun = tiny.start(second, data, before, 1)
  after, _ = tiny.advance(second, begun, data, 3)
  net, old, new = (s.params['net'] for s in (begun, before, after))
  assert tiny.same({k: net[k] for k in ('conv', 'norm')}, {k: old[k] for k in ('conv', 'norm')})
  assert tiny.same({k: new[k] for k in ('conv', 'norm')}, {k: old[k] for k in ('conv', 'norm')})
  assert not tiny.same(net['head'], old['head']) and not tiny.same(new['head'], net['head'])
