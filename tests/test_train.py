"""Phases, epochs and hooks: resets, early stopping, what carries over, and resuming from anywhere, bit by bit."""

import dataclasses
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax.engine import between_epochs, optim, score, step, train
from noisyjax.engine.net import Net
from noisyjax.engine.phase import chosen_from
from noisyjax.engine.spec import run_keys
from noisyjax.engine.state import Snapshot
from noisyjax.estimate import scoring
from noisyjax.strategies import loss_filter, naive
from noisyjax.system.errors import UserError
from tiny import BATCH, CLASSES, ROOT, ROWS

NAIVE = naive.Strategy.build()
VALIDATION = (np.asarray(tiny.data(20, seed=5).images), tiny.data(20, seed=5).given)


class Shifts(naive.Strategy):
  """Adds one to every label on entering and before each further epoch; traces are counted."""

  traces = []

  def init(self, key, data):
    return {}, {'weight': jnp.ones(len(data.given))}

  def loss(self, params, state, batch, ctx):
    self.traces.append(1)
    return super().loss(params, state, batch, ctx)

  def refresh(self, state, scores, ctx):
    t = state.targets
    # On purpose: weakly typed trust, and one buffer handed back twice.
    label = jnp.where(t.label >= 0, (t.label + 1) % ctx.classes, -1)
    trust = jnp.broadcast_to(jnp.where(True, 0.5, 1.0), t.trust.shape)
    return t.replace(label=label, weight=state.extra['weight'], trust=trust), state.extra


class Asks(naive.Strategy):
  """Keeps what the networks said when the phase began."""

  refresh_on = 'phase'

  def init(self, key, data):
    return {}, {'said': jnp.zeros((1, len(data.given), data.classes))}

  def score(self, logits, features, batch):
    return {'logits': logits}

  def refresh(self, state, scores, ctx):
    return state.targets, {'said': scores['logits']}


class Softens(naive.Strategy):
  """Writes soft targets."""

  soft = True

  def refresh(self, state, scores, ctx):
    return state.targets.replace(soft=0.8 * state.targets.soft + 0.2 / ctx.classes), state.extra


class Hooks:
  """Writes down everything, as numpy and JSON: the state that a hook is shown is donated to the next step."""

  def __init__(self):
    self.begun, self.seen, self.records, self.counts = [], [], [], []

  def begin(self, phase, position, state):
    self.begun.append((position.phase, position.steps, int(state.epoch), int(state.tick)))

  def step(self, phase, position, state, count, tick):
    self.counts.append(count)
    self._keep('step', position, state)

  def epoch(self, phase, position, state, record):
    self.records.append(record)
    self._keep('epoch', position, state)

  def _keep(self, kind, position, state):
    plain = dataclasses.asdict(position)
    plain['totals'] = {k: np.asarray(v).tolist() for k, v in position.totals.items()}
    self.seen.append((kind, jax.tree.map(np.array, state), json.dumps(plain)))


def fit(plan, data, validation=None, resume=None):
  hooks = Hooks()
  state, position = train.fit(plan, data, validation, ROOT, hooks, resume)
  return state, position, hooks


def linear(strategy, epochs=2, a_hyper=None, **fields):
  """A phase on softmax regression, which compiles at once."""
  return tiny.phase(strategy, tiny.spec(strategy.networks, tiny.Linear()), a_hyper, epochs=epochs, **fields)


@pytest.fixture(scope='module')
def trained(data):
  """A naive phase of the convolution, and its state after two steps."""
  phase = tiny.phase(NAIVE)
  return phase, tiny.advance(phase, tiny.start(phase, data), data, 2)[0]


# --- entering a phase -----------------------------------------------------------------------------


def leaves(snapshot):
  """path → leaf of parameters and statistics."""
  flat = jax.tree.leaves_with_path({'params': snapshot.params, 'stats': snapshot.stats})
  return {jax.tree_util.keystr(p, simple=True, separator='/'): np.asarray(v) for p, v in flat}


@pytest.mark.parametrize(
  'reset, begun',
  [
    ('none', ()),
    ('head', ('head',)),
    ('all', ('conv', 'norm', 'head')),
    ('^conv', ('conv',)),
    ('norm|bias', ('norm',)),
  ],
)
def test_reset_begins_the_named_layers_anew(trained, data, reset, begun):
  phase, previous = trained
  state = tiny.start(tiny.replaced(phase, reset=reset), data, previous, 1)
  old, new = (leaves(Snapshot(s.params['net'], s.stats)) for s in (previous, state))
  for path, value in new.items():
    anew = path.split('/')[1] in begun or (reset == 'norm|bias' and path.endswith('bias'))
    assert (value == old[path]).all() != anew, path
  assert tiny.same(leaves(state.best), new)
  momentum = jax.tree.leaves(state.opt['net'])
  assert any(m.any() for m in momentum) == (reset == 'none')  # the optimizer goes over with whole networks alone


def test_a_phase_counts_from_its_own_beginning(trained, data):
  phase, previous = trained
  control = previous.control.replace(stopped=jnp.array(True), lr_scale=jnp.array(0.1, jnp.float32))
  previous = previous.replace(epoch=jnp.array(3, jnp.int32), phase_epoch=jnp.array(3, jnp.int32), control=control)
  state = tiny.start(phase, data, previous, 1)
  assert [int(v) for v in (state.step, state.epoch, state.phase_epoch, state.tick)] == [2, 3, 0, 0]
  assert not bool(state.control.stopped) and float(state.control.lr_scale) == 1.0
  assert int(state.dynamics.visits.sum()) == 0


def test_every_phase_initialises_by_a_key_of_its_own(trained, data):
  phase, previous = trained
  again = [tiny.start(tiny.replaced(phase, reset='all'), data, previous, n) for n in (1, 2)]
  kernels = [s.params['net']['conv']['kernel'] for s in again]
  assert (kernels[0] != kernels[1]).all()


def test_frozen_layers_stay(trained, data):
  _, previous = trained
  frozen = tiny.phase(NAIVE, tiny.spec(), tiny.hyper(optim.Optimizer(freeze='^conv|^norm')))
  state = tiny.start(frozen, data, previous, 1)
  new, _ = tiny.advance(frozen, state, data, 2)
  for layer in ('conv', 'norm'):
    assert tiny.same(new.params['net'][layer], state.params['net'][layer])
  assert not tiny.same(new.params['net']['head'], state.params['net']['head'])


@pytest.mark.parametrize(
  'phase, message',
  [
    (tiny.phase(NAIVE, reset='body'), r"reset: 'body' matches no parameter.*conv/kernel"),
    (tiny.phase(NAIVE, reset='('), r"reset: '\(' is not a regular expression"),
    (
      tiny.phase(NAIVE, tiny.spec(), tiny.hyper(optim.Optimizer(freeze='convv'))),
      "freeze: 'convv' matches no parameter",
    ),
    (tiny.phase(naive.Strategy.build(networks=2)), "in shape or number.*reset='all'"),
    (linear(NAIVE), "in shape or number.*reset='all'"),
  ],
)
def test_a_phase_that_cannot_go_on_from_the_last_says_so(trained, data, phase, message):
  with pytest.raises(UserError, match=message):
    tiny.start(phase, data, trained[1], 1)


def test_refresh_asks_the_networks_of_the_phase_before(trained, data):
  phase, previous = trained
  asks = linear(Asks.build(), reset='all')  # another architecture, begun anew
  images = jnp.asarray(data.images)
  state = train.enter(asks, 1, data, images, ROOT, previous, phase)
  said, _ = phase.spec.net.look(previous.params['net'], previous.stats, images)
  assert_allclose(state.extra['said'], said, rtol=1e-4, atol=1e-5)
  assert set(state.params['net']) == {'head'}


def test_a_first_layer_that_is_computed_from_images_sees_all_parts_of_the_phases_rows_and_no_others(monkeypatch):
  sorted_by_class = tiny.data(12000)
  np.asarray(sorted_by_class.images)[:] = np.repeat(np.arange(12, dtype=np.uint8), 1000)[:, None, None, None]
  rows, seen, real = np.arange(12000) >= 1000, [], Net.init
  monkeypatch.setattr(Net, 'shown', lambda net, shape: 5000)  # as where the model has `calibrate`
  monkeypatch.setattr(Net, 'init', lambda net, key, images: seen.append(images) or real(net, key, images[:2]))
  tiny.start(tiny.replaced(linear(NAIVE), rows=rows), sorted_by_class)
  classes, counts = np.unique(seen[0][:, 0, 0, 0], return_counts=True)
  assert_array_equal(classes, np.arange(1, 12))
  assert len(seen[0]) <= 5000 and counts.min() > 300


def test_the_best_networks_are_asked_where_a_strategy_says_so(trained, data):
  phase, previous = trained
  best = Snapshot(jax.tree.map(lambda a: a + 1, previous.params['net']), previous.stats)
  previous = previous.replace(best=best)
  images = jnp.asarray(data.images)
  for asks_best, asked in ((False, previous.params['net']), (True, best.params)):
    strategy = type('Asking', (Asks,), {'asks_best': asks_best}).build()
    state = train.enter(linear(strategy, reset='all'), 1, data, images, ROOT, previous, phase)
    said, _ = phase.spec.net.look(asked, previous.stats, images)
    assert_allclose(state.extra['said'], said, rtol=1e-4, atol=1e-5)


def test_the_optimizer_of_other_frozen_parameters_is_not_carried(data):
  adam = lambda freeze: linear(NAIVE, a_hyper=tiny.hyper(optim.Optimizer('adam', freeze=freeze)))
  frozen, free = adam('bias'), adam('')
  state, _ = tiny.advance(frozen, tiny.start(frozen, data), data, 3)
  enter = lambda phase: train.enter(phase, 1, data, jnp.asarray(data.images), ROOT, state, frozen)
  assert tiny.same(enter(frozen).opt['net'], state.opt['net'])
  assert not any(leaf.any() for leaf in jax.tree.leaves(enter(free).opt['net']))


@pytest.mark.parametrize(
  'fields, together',
  [
    ({}, True),
    ({'epochs': 7}, True),
    ({'reset': 'all'}, False),
    ({'labels': 'given'}, False),
    ({'name': 'other'}, False),
    ({'rows': np.arange(ROWS) > 0}, False),
  ],
)
def test_a_phase_that_only_trains_on_keeps_the_best_epoch_and_the_dynamics(data, fields, together):
  first = linear(NAIVE, epochs=2)
  second = tiny.replaced(first, **fields)
  state, _, _ = fit([first], data, VALIDATION)
  assert int(state.control.best_epoch) >= 1 and state.dynamics.visits.any()
  after = train.enter(second, 1, data, jnp.asarray(data.images), ROOT, state, first)
  kept = int(after.control.best_epoch) == int(state.control.best_epoch)
  assert (
    kept == tiny.same(after.best.params, state.best.params) == tiny.same(after.dynamics, state.dynamics) == together
  )
  assert after.control.best == np.inf and not after.control.stopped and int(after.phase_epoch) == 0
  assert chosen_from([first, second]) == (0 if together else 1)


def test_a_template_has_the_structure_of_the_state(trained, data):
  phase, previous = trained
  shapes = lambda s: jax.tree.map(lambda a: (a.shape, a.dtype), s)
  for n, strategy in enumerate((NAIVE, loss_filter.Strategy.build(), Softens.build(), Asks.build()), 1):
    entered = tiny.start(tiny.replaced(phase, strategy=strategy), data, previous, n)
    template = train.enter(tiny.replaced(phase, strategy=strategy), n, data, None, ROOT, None, template=True)
    assert shapes(entered) == shapes(template)


# --- targets --------------------------------------------------------------------------------------


def test_targets_carry_over_until_a_phase_names_its_labels():
  data = tiny.data(unlabeled=range(4), verified=range(9))
  plan = [
    linear(Shifts.build()),
    linear(NAIVE, 1),
    linear(NAIVE, 1, labels='verified', steps=1),
    linear(NAIVE, 1, labels='given'),
    linear(NAIVE, 1, labels='both'),
  ]
  Shifts.traces.clear()
  _, _, hooks = fit(plan, data)
  labels = [s.targets.label for kind, s, _ in hooks.seen if kind == 'epoch']
  shifted = lambda by: np.where(data.given >= 0, (data.given + by) % CLASSES, -1)
  both = np.where(data.verified >= 0, data.verified, data.given)
  assert (both != data.given).any() and (both != data.verified).any()
  for got, want in zip(labels, [shifted(1), shifted(2), shifted(2), data.verified, data.given, both], strict=True):
    assert_array_equal(got, want)
  assert_array_equal(hooks.seen[0][1].targets.trust, 0.5)
  assert len(Shifts.traces) == 1  # weak types and shared buffers of `refresh` do not reach the step


def test_soft_targets_carry_over(data):
  soft = tiny.start(linear(Softens.build()), data)
  want = 0.8 * np.eye(CLASSES)[data.given] + 0.2 / CLASSES
  assert_allclose(soft.targets.soft, want, rtol=1e-5)
  assert_array_equal(tiny.start(linear(NAIVE), data, soft, 1).targets.soft, soft.targets.soft)
  assert tiny.start(linear(NAIVE, labels='given'), data, soft, 1).targets.soft is None
  hard = tiny.start(linear(NAIVE), data)
  assert_allclose(tiny.start(linear(Softens.build()), data, hard, 1).targets.soft, want, rtol=1e-5)


def test_a_phase_uses_its_rows_alone():
  data = tiny.data(verified=range(0, 40, 2))
  rows = data.verified >= 0
  state, position, _ = fit([linear(NAIVE, rows=rows, labels='verified')], data)
  assert position.steps == 2  # 20 rows by 16
  assert_array_equal(state.dynamics.visits[0], 2 * rows)


# --- epochs ---------------------------------------------------------------------------------------


def test_an_epoch_goes_once_through_the_rows_unless_told_otherwise(data):
  for steps, want in ((0, 3), (5, 5)):
    state, position, hooks = fit([linear(NAIVE, epochs=1, steps=steps)], data)
    assert position.steps == int(state.step) == len(hooks.counts) == want
    assert_array_equal(state.dynamics.visits, 1)
    assert (position.images, position.passes) == (want * BATCH, 3 * want * BATCH)
    assert hooks.records[0]['step'] == want
    assert hooks.records[0]['loss'] == pytest.approx(float(state.dynamics.loss.mean()), rel=1e-4)


def test_what_scoring_costs_is_counted(data):
  _, position, _ = fit([linear(loss_filter.Strategy.build(warmup=1), epochs=2)], data)
  assert position.passes == 2 * (3 * 3 * BATCH + ROWS)


def test_several_steps_a_call_end_where_single_ones_do(data):
  one, _, _ = fit([linear(NAIVE)], data)
  more, _, hooks = fit([linear(NAIVE, per_call=2)], data)
  assert hooks.counts == [2, 1, 2, 1]
  jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, more)


def test_validation_chooses_the_best_epoch(data):
  plan = [linear(NAIVE, epochs=5, a_hyper=tiny.hyper(lr=0.02))]
  state, _, hooks = fit(plan, data, VALIDATION)
  ends = [s for kind, s, _ in hooks.seen if kind == 'epoch']
  accuracy = [r['val_accuracy'] for r in hooks.records]
  best = int(np.argmax(accuracy))
  assert best < 4 and int(state.control.best_epoch) == best + 1
  assert tiny.same(state.best.params, ends[best].params['net'])
  probs, _ = score.predict(plan[0].spec.net, NAIVE, ends[0].current, VALIDATION[0], 7)
  found = scoring.scores(probs, VALIDATION[1])
  assert hooks.records[0]['val_loss'] == pytest.approx(found['loss'], rel=1e-4)
  assert accuracy[0] == pytest.approx(found['accuracy'])


def test_without_validation_the_last_epoch_is_the_best(data):
  state, _, hooks = fit([linear(NAIVE)], data)
  assert tiny.same(state.best.params, state.params['net'])
  assert int(state.control.best_epoch) == 2
  assert 'val_loss' not in hooks.records[0]


def test_a_phase_that_stops_early_hands_over_to_the_next(data):
  impatient = tiny.hyper(stop=(2, 1e6))  # nothing counts as an improvement after the first epoch
  plan = [linear(NAIVE, epochs=9, a_hyper=impatient), linear(NAIVE, epochs=2, watch='val_accuracy')]
  state, position, hooks = fit(plan, data, VALIDATION)
  assert [r['phase'] for r in hooks.records] == [0, 0, 0, 1, 1]
  assert [r['epoch'] for r in hooks.records] == [1, 2, 3, 4, 5]
  assert [r['phase_epoch'] for r in hooks.records] == [1, 2, 3, 1, 2]
  assert [b[0] for b in hooks.begun] == [0, 1] and position.phase == 1
  assert -state.control.best == pytest.approx(max(r['val_accuracy'] for r in hooks.records[3:]))


def test_the_plateau_lowers_the_rate(data):
  spec = tiny.spec(model=tiny.Linear())
  flat = tiny.hyper(optim.Optimizer(schedule='plateau'), stop=(0, 1e6), plateau=(1, 0.5))
  _, _, hooks = fit([tiny.phase(NAIVE, spec, flat)], data, VALIDATION)
  assert_allclose([r['lr'] for r in hooks.records], [0.1, 0.1, 0.05, 0.025], rtol=1e-5)


def test_the_schedule_sees_fractions_of_an_epoch_and_the_phase_length(data):
  cosine = tiny.hyper(optim.Optimizer(schedule='cosine'), epochs=2)
  _, _, hooks = fit([tiny.phase(NAIVE, tiny.spec(model=tiny.Linear()), epochs=2, a_hyper=cosine)], data)
  t = np.arange(6).reshape(2, 3) / 3  # epochs at each step
  assert_allclose([r['lr'] for r in hooks.records], (0.05 * (1 + np.cos(np.pi * t / 2))).mean(1), rtol=1e-4)


def test_rows_change_order_from_epoch_to_epoch(data):
  walks = [
    between_epochs.walks({'train': jnp.ones(ROWS, bool)}, run_keys(ROOT).walk, jnp.int32(e), CLASSES) for e in (0, 1)
  ]
  assert (np.asarray(walks[0]['train'].order) != np.asarray(walks[1]['train'].order)).any()


# --- resuming -------------------------------------------------------------------------------------


def test_resuming_from_anywhere_ends_in_the_same_bits():
  data = tiny.data(unlabeled=range(5))
  spec = tiny.spec(model=tiny.Conv(dropout=0.3), ops=('crop',), ema=True)
  plan = [
    tiny.phase(NAIVE, spec, epochs=2),
    tiny.phase(loss_filter.Strategy.build(rate=0.4, warmup=1), spec, tiny.hyper(stop=(2, 1e6)), epochs=9, reset='head'),
  ]
  state, position, hooks = fit(plan, data, VALIDATION)
  assert len(hooks.seen) == 5 * 3 + 5 and len(hooks.records) == 5  # 3 epochs of the second phase, which stops early
  for number, (kind, kept, plain) in enumerate(hooks.seen):
    resumed = train.Position(**json.loads(plain))
    resumed.totals = {k: np.asarray(v, np.float32) for k, v in resumed.totals.items()}
    end, at, again = fit(plan, data, VALIDATION, (tiny.copied(jax.tree.map(jnp.asarray, kept)), resumed))
    assert tiny.same(end, state), (number, kind)
    assert (at.passes, at.images, at.phase) == (position.passes, position.images, position.phase)
    assert again.records == hooks.records[len(hooks.records) - len(again.records) :]
    done = sum(k == 'epoch' for k, *_ in hooks.seen[: number + 1])
    assert len(again.records) == 5 - done


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(('steps', 'expected'), [(0, 1), (-3, 3), (2, 2)])
def test_a_batch_larger_than_the_labeled_rows_walks_them_again(steps, expected):
  state, position, _ = fit([linear(NAIVE, steps=steps)], tiny.data(unlabeled=range(40)))
  assert int(state.step) == 2 * expected and position.images == 2 * expected * BATCH
  assert (np.asarray(state.dynamics.visits)[0, 40:] == 2).all()  # all 8 rows, in both epochs


@pytest.mark.parametrize('steps', [0, 2])
def test_data_without_any_label_is_refused(steps):
  with pytest.raises(UserError, match='none of the 48 training rows has a label to train on'):
    fit([linear(NAIVE, steps=steps)], tiny.data(unlabeled=range(ROWS)))


def test_calls_of_about_sixteen_steps_divide_an_epoch_where_they_can():
  # 391 = 17 · 23, 782 = 2 · 17 · 23; a prime has no divisor, and its rest is a program of its own
  assert [train.even_call(n) for n in (391, 782, 1024, 16, 24, 7, 397)] == [17, 17, 16, 16, 12, 16, 16]


def test_an_epoch_of_many_calls_is_the_epoch_of_one_step_a_call(data):
  one, _, _ = fit([linear(NAIVE, epochs=1, steps=20)], data)
  many, _, hooks = fit([linear(NAIVE, epochs=1, steps=20, per_call=0)], data)
  assert hooks.counts == [20]
  jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-6), one, many)


# --- what an epoch is told, and what is evaluated -------------------------------------------------


def test_with_an_average_it_is_what_validation_sees_and_what_is_kept_as_the_best(data):
  spec = tiny.spec(model=tiny.Linear(), ema=True)
  phase = tiny.phase(NAIVE, spec, tiny.hyper(lr=1.0, ema=0.99), epochs=3)
  state, _, hooks = fit([phase], data, VALIDATION)
  loss = lambda who: scoring.scores(score.predict(spec.net, NAIVE, who, VALIDATION[0], 7)[0], VALIDATION[1])['loss']
  ends = [s for kind, s, _ in hooks.seen if kind == 'epoch']
  for end, record in zip(ends, hooks.records, strict=True):
    raw = loss(Snapshot(end.params['net'], end.stats))
    assert record['val_loss'] == pytest.approx(loss(end.ema), rel=1e-4) != pytest.approx(raw, rel=1e-2)
  best = int(np.argmax([r['val_accuracy'] for r in hooks.records]))
  assert tiny.same(state.best, ends[best].ema)
  anew = tiny.start(tiny.replaced(phase, reset='all'), data, state, 1)
  assert tiny.same(anew.ema.params, anew.params['net'])  # a new network's average begins with it


class Shown(naive.Strategy):
  """Keeps the last step's rows and views; a step is an epoch here."""

  def init(self, key, data):
    return {}, {'index': jnp.zeros(ROWS, jnp.int32), 'weak': jnp.zeros(data.images.shape)}

  def loss(self, params, state, batch, ctx):
    loss, out = super().loss(params, state, batch, ctx)
    return loss, dataclasses.replace(out, extra={k: batch['train'][k] for k in ('index', 'weak')})


def test_no_two_epochs_walk_or_augment_alike_whatever_their_phases(data):
  phase = tiny.phase(Shown.build(), tiny.spec(model=tiny.Linear(), ops=('flip',), batch_size=ROWS), epochs=2)
  _, _, hooks = fit([phase, phase], data)
  seen = [s.extra for kind, s, _ in hooks.seen if kind == 'epoch']
  assert len(seen) == 4
  for a, b in itertools.combinations(seen, 2):
    assert (a['index'] != b['index']).any()
    assert (a['weak'][a['index'].argsort()] != b['weak'][b['index'].argsort()]).any()


def test_a_first_phase_s_second_epoch_compiles_nothing(data):
  phase = linear(loss_filter.Strategy.build(), epochs=3)
  compiled = []

  class Counts(Hooks):
    def epoch(self, phase, position, state, record):
      compiled.append(
        [
          f._cache_size()
          for f in (
            step.train_step,
            between_epochs._begin_epoch,
            between_epochs._refresh,
            score._score_chunk,
            between_epochs.walks,
          )
        ]
      )

  train.fit([phase], data, None, ROOT, Counts())
  assert compiled[0] == compiled[1] == compiled[2]
