"""Properties that every strategy must have. The test finds the modules itself, so a new strategy is tested at once.

Each strategy's own plan is walked on a small network with batch norm and dropout; its last phase, and each one before
that is the strategy's own in another shape (AUM's measuring), is looked at from all sides, under one compiled step.
A case is called by the strategy and, for such an earlier phase, its number.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import runs
import tiny
from noisyjax.config.plan import Plan
from noisyjax.config.plugin_fields import STRATEGIES
from noisyjax.data.training import Status, TrainData
from noisyjax.engine import between_epochs, gather, score, step, train
from noisyjax.engine.context import Ctx
from noisyjax.engine.phase import first_targets
from noisyjax.engine.spec import run_keys
from noisyjax.engine.traced import traced_fields
from noisyjax.runs import checkpoint
from noisyjax.system import plugins

ROOT = jax.random.key(3)
STEPS, EPOCHS, LATE = 3, 100, 60  # steps an epoch; epochs a run would have; an epoch after all warm-ups
UNLABELED, HELD, DROPPED = np.arange(5, 13), np.arange(60, 70), np.arange(70, 78)
ALLOWED, KEPT = (~np.isin(np.arange(runs.TRAIN), out) for out in (HELD, DROPPED))
STATUS = np.where(np.arange(runs.TRAIN) >= 91, Status.HELD, Status.LABELED)
STATUS[86:91] = Status.DROPPED
USED = ALLOWED & KEPT & (STATUS == Status.LABELED)


@dataclasses.dataclass(frozen=True)
class Case:
  """A strategy's last phase, and the state that waits for its first step. One trace a strategy is spent on it."""

  plan: list
  phase: train.Phase
  data: TrainData
  previous: object
  state: object


def rows() -> TrainData:
  """96 rows of three classes: 30 % wrong, a quarter verified, eight without a given label, ten dropped or held."""
  arrays = {k: v[: runs.TRAIN] for k, v in runs.arrays().items() if k != 'classes'}
  given = arrays['labels'].copy()
  given[UNLABELED] = -1
  return TrainData(arrays['images'], given, arrays['verified'], 3, status=STATUS)


@functools.cache
def plan_of(name: str, vmap: bool = False) -> tuple:
  """Returns the phases as `epochs=100` plans them, each with 3 steps an epoch and rows that it may not use."""
  plan = Plan.of(
    runs.recipe(strategy__name=name, epochs=EPOCHS, model__vmap=vmap, ema=0.9, data__trusted=0.0)
  ).engine_phases(rows())
  numbers = {'epochs': np.float32(EPOCHS), 'steps': np.float32(STEPS)}
  keep = lambda p: dataclasses.replace(p, rows=p.rows & ALLOWED, hyper=p.hyper.replace(**numbers), chunk=48)
  return tuple(map(keep, plan))


def dropping(phase, data):
  """The first targets, as if an earlier phase had dropped rows."""
  targets = first_targets(phase, data)
  return targets.replace(weight=targets.weight * KEPT)


def walk(plan, data: TrainData) -> Case:
  """One epoch of every phase but the last, which is entered; some rows were dropped before."""
  images, state, previous = jnp.asarray(data.images), None, None
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('noisyjax.engine.phase.first_targets', dropping)
    for number, phase in enumerate(plan):
      earlier = plan[number - 1] if number else None
      previous, state = state, train.enter(phase, number, data, images, ROOT, state, earlier)
      if number < len(plan) - 1:
        state = stepped(phase, state, data)
  return Case(list(plan), plan[-1], data, previous, state)


def cases() -> list[str]:
  """Returns "name" or "name:phase" of every strategy and every static shape of it that its own plan goes through."""
  found = []
  for name in plugins.names(STRATEGIES, 'Strategy'):
    plan = plan_of(name)
    own = {jax.tree.structure(p.strategy): i for i, p in enumerate(plan) if p.name == name}
    assert len(plan) - 1 in own.values(), f'{name}: the last phase of its plan is not its own'
    found += [name if i == len(plan) - 1 else f'{name}:{i}' for i in own.values()]
  return found


def phases_of(case: str, vmap: bool = False) -> tuple:
  """Returns the plan up to the phase that the case is about."""
  name, _, number = case.partition(':')
  plan = plan_of(name, vmap)
  return plan[: int(number) + 1] if number else plan


@functools.cache
def case(name: str) -> Case:
  return walk(phases_of(name), rows())


NAMES = cases()


def walks_of(phase, state):
  return between_epochs.walks(state.masks, run_keys(ROOT).walk, state.epoch, phase.spec.classes)


def stepped(phase, state, data, count=STEPS):
  """Returns the state `count` steps on; the one given stays usable."""
  walks, keys, images = walks_of(phase, state), run_keys(ROOT), jnp.asarray(data.images)
  state = tiny.copied(state)
  for _ in range(count):
    state, _ = step.train_step(phase.spec, phase.strategy, phase.hyper, state, walks, images, keys)
  return state


def streamed(phase, state, data, count=STEPS):
  """As `stepped`, on batches that the host gathers, as those of a pack."""
  walks, keys, state = walks_of(phase, state), run_keys(ROOT), tiny.copied(state)
  calls = [(int(state.tick) + i, 1) for i in range(count)]
  for batch in gather.ahead(phase.strategy, phase.spec.batch_size, walks, data.images, calls, phase.spec.mesh):
    state, _ = step.train_step(phase.spec, phase.strategy, phase.hyper, state, None, batch, keys)
  return state


def later(c: Case):
  """Returns the state at the start of epoch 60, targets refreshed where the strategy does that each epoch."""
  state = c.state.replace(phase_epoch=jnp.array(LATE, jnp.int32))
  if c.phase.strategy.refreshes and c.phase.strategy.refresh_on == 'epoch':
    state = train.refreshed(c.phase, state, jnp.asarray(c.data.images), ROOT)
  return begun(c, state)


def begun(c: Case, state):
  return between_epochs.begin_epoch(c.phase.strategy, state, c.phase.rows)


def finite(tree) -> bool:
  return all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.floating))


def learnt(state):
  return state.params, state.stats, state.ema


def kinds(tree):
  return jax.tree.map(lambda a: (a.shape, str(a.dtype), a.aval.weak_type), tree)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_a_step_on_gathered_images_is_the_step_on_images_in_memory(name):
  c = case(name)
  assert tiny.same(stepped(c.phase, later(c), c.data), streamed(c.phase, later(c), c.data))


@pytest.mark.parametrize('name', NAMES)
def test_it_learns_in_one_trace_and_keeps_the_kinds_of_its_state(name):
  c = case(name)
  stepped(c.phase, c.state, c.data, 1)
  traced = step.train_step._cache_size()
  new = stepped(c.phase, c.state, c.data)
  late = later(c)
  newer = stepped(c.phase, late, c.data)
  numbers = traced_fields(type(c.phase.strategy))
  other = tiny.replaced(c.phase, {n: 0.9 * getattr(c.phase.strategy, n) + 0.01 for n in numbers})
  functions = (between_epochs._refresh, between_epochs._begin_epoch, score._score_chunk)
  between = [f._cache_size() for f in functions]
  stepped(other, later(dataclasses.replace(c, phase=other)), c.data, 1)
  assert step.train_step._cache_size() == traced
  assert [
    f._cache_size() for f in (between_epochs._refresh, between_epochs._begin_epoch, score._score_chunk)
  ] == between
  for state in (new, newer, late):
    assert kinds(state) == kinds(c.state)
  assert finite(learnt(new)) and finite(learnt(newer)) and int(new.bad_step) == int(newer.bad_step) == -1


@pytest.mark.parametrize('name', NAMES)
def test_gradient_reaches_every_layer_of_every_network(name):
  """Without decay, and with an optimizer that remembers nothing, only a gradient moves a parameter."""
  c = case(name)
  plain = dataclasses.replace(c.phase.hyper.optimizer, decay=np.float32(0))
  phase = dataclasses.replace(c.phase, hyper=c.phase.hyper.replace(optimizer=plain))
  for state in (c.state, later(c)):
    state = state.replace(opt=jax.tree.map(jnp.zeros_like, state.opt))
    new = stepped(phase, state, c.data)
    for layer in ('dense', 'head'):
      before, after = (s.params['net'][layer]['kernel'] for s in (state, new))
      assert (jnp.abs(after - before).max((1, 2)) > 0).all(), 'a network does not learn'
    assert not jax.tree.leaves(state.params['own']) or not tiny.same(new.params['own'], state.params['own'])


@pytest.mark.parametrize('name', NAMES)
def test_every_row_of_the_first_stream_counts_once_an_epoch(name):
  c = case(name)
  first, views = next(iter(c.phase.strategy.streams.items()))
  wide = lambda m: np.broadcast_to(m if m.dtype == bool else m >= 0, (c.phase.strategy.networks, runs.TRAIN))
  masks = {stream: wide(np.asarray(m)) for stream, m in c.state.masks.items()}
  mask = masks[first]
  new = stepped(c.phase, c.state, c.data)
  assert mask.any() and not any(m[:, ~USED].any() for m in masks.values())
  if views.labeled:  # the last of the three batches is short
    assert_array_equal(new.dynamics.visits, mask)


UNLABELING = [n for n in NAMES if not all(v.labeled for v in phases_of(n)[-1].strategy.streams.values())]


def relabeled(state, rows):
  """The state with other labels on these rows, which otherwise stay what they are."""
  targets = state.targets
  label = jnp.where(rows, (targets.label + 1) % 3, targets.label)
  soft = targets.soft
  if soft is not None:
    soft = jnp.where(rows[:, None], jnp.roll(soft, 1, -1), soft)
  return state.replace(targets=targets.replace(label=label, soft=soft))


def members(c: Case, state, labeled: bool):
  """Rows that some network meets in some stream with labels, or without: bool [N]."""
  streams = [s for s, v in c.phase.strategy.streams.items() if v.labeled == labeled]
  masks = [m if m.dtype == bool else m >= 0 for m in (np.asarray(state.masks[s]) for s in streams)]
  return np.any([m.any(0) if m.ndim == 2 else m for m in masks], axis=0) if masks else np.zeros(runs.TRAIN, bool)


@pytest.mark.parametrize('name', NAMES)
def test_the_first_rows_label_is_learnt(name):
  """Row 0, which falsy indices lose, matters: another label for it moves the networks."""
  c = case(name)
  targets = c.state.targets  # with nothing selected or pruned, which might leave row 0 out rightly
  whole = targets.replace(trust=jnp.ones_like(targets.trust), weight=jnp.ones_like(targets.weight))
  extra = c.state.extra
  if hasattr(c.phase.strategy, 'reuse'):  # it trains on rows that are not verified, as row 0 then is not
    extra = extra | {'verified': extra['verified'].at[0].set(-1)}
  state = begun(c, c.state.replace(targets=whole, extra=extra))
  assert members(c, state, labeled=True)[0]
  other = relabeled(state, np.arange(runs.TRAIN) == 0)
  assert not tiny.same(*(stepped(c.phase, s, c.data).params for s in (state, other)))


@pytest.mark.parametrize('name', UNLABELING)
def test_a_label_that_only_unlabeled_streams_could_know_reaches_nothing(name):
  c, met = case(name), False
  for state in (c.state, later(c)):
    hidden = members(c, state, labeled=False) & ~members(c, state, labeled=True)
    met |= hidden.any()
    a, b = (stepped(c.phase, s, c.data, 1) for s in (state, relabeled(state, jnp.asarray(hidden))))
    assert tiny.same((*learnt(a), a.extra), (*learnt(b), b.extra))
  assert met


@pytest.mark.parametrize('name', NAMES)
def test_empty_all_clean_and_all_noisy_splits_survive(name):
  c = case(name)
  late = later(c)
  states = [
    begun(c, late.replace(targets=late.targets.replace(trust=jnp.full_like(late.targets.trust, v)))) for v in (0.0, 1.0)
  ]
  for stream, mask in late.masks.items():
    none = jnp.zeros_like(mask) if mask.dtype == bool else jnp.full_like(mask, -1)
    states.append(late.replace(masks={**late.masks, stream: none}))
  for state in states:
    new = stepped(c.phase, state, c.data)
    assert finite(learnt(new)) and finite(new.extra) and int(new.bad_step) == -1


def of_rows(rows, tree):
  """The tree with only these rows of whatever holds a number for every row."""
  some = lambda a: a.compress(rows, a.shape.index(runs.TRAIN)) if runs.TRAIN in a.shape else a
  return jax.tree.map(lambda a: some(np.asarray(a)), tree)


@pytest.mark.parametrize('name', NAMES)
def test_rows_that_may_not_be_used_reach_nothing(name):
  """Those that are dropped or held, that the phase holds back, and that an earlier one dropped."""
  c, data, out = case(name), rows(), ~USED
  images, given, verified = np.array(data.images), data.given.copy(), data.verified.copy()
  images[out] = 255 - images[out]
  given[out] = (given[out] + 1) % 3
  verified[out] = np.where(verified[out] >= 0, (verified[out] + 1) % 3, -1)
  poisoned = walk(c.plan, TrainData(images, given, verified, 3, status=STATUS))
  for one, other in ((c.state, poisoned.state), (later(c), later(poisoned))):
    assert not np.asarray(one.targets.weight)[DROPPED].any(), 'a dropped row came back'
    a, b = (stepped(c.phase, state, x.data) for state, x in ((one, c), (other, poisoned)))
    for s, t in ((one, other), (a, b)):
      whole = [(*learnt(x), of_rows(USED, (x.targets, x.masks, x.extra, x.dynamics))) for x in (s, t)]
      assert tiny.same(*whole)


# Passes of a step that move the running statistics, as in the official code that docs/faithfulness.md names.
PASSES = {'divide_mix': 5, 'elr_plus': 1, 'fixmatch': 1, 'mixmatch': 1, 'pes_semi': 3, 'promix': 6, 'ssr_plus': 3}


@pytest.mark.parametrize('name', NAMES)
def test_statistics_move_only_by_what_is_learnt_from(name, monkeypatch):
  """A look moves nothing; and a pass in training mode through which no gradient comes back says that it is a guess."""
  c = case(name)
  net, look, guess, moved, learnt_from, guessed = Ctx.net, Ctx.look, Ctx.guess, set(), set(), set()

  def own_look(ctx, *args, **kwargs):
    before = ctx.stats
    found = look(ctx, *args, **kwargs)
    assert ctx.stats is before
    return found

  def own_guess(ctx, *args, **kwargs):
    guessed.add(ctx._calls)
    return guess(ctx, *args, **kwargs)

  def own_net(ctx, *args, **kwargs):
    before, call = ctx.stats, ctx._calls
    found = net(ctx, *args, **kwargs)
    if ctx.stats is not before:
      moved.add(call)
    marked = jax.custom_vjp(lambda pair: pair)  # whose backward pass is traced only where a gradient comes back
    marked.defvjp(lambda pair: (pair, None), lambda _, gradient: learnt_from.add(call) or (gradient,))
    return marked(found)

  monkeypatch.setattr(Ctx, 'look', own_look)
  monkeypatch.setattr(Ctx, 'guess', own_guess)
  monkeypatch.setattr(Ctx, 'net', own_net)
  walks, keys, images = walks_of(c.phase, c.state), run_keys(ROOT), jnp.asarray(c.data.images)
  own = functools.partial(step.one_step, c.phase.spec)
  jax.eval_shape(own, c.phase.strategy, c.phase.hyper, c.state, walks, images, keys)
  assert moved - guessed and moved - guessed <= learnt_from and not guessed & learnt_from
  assert len(moved) == PASSES.get(name, len(moved))


@pytest.mark.parametrize('name', NAMES)
def test_an_unlabeled_row_reaches_only_unlabeled_streams(name):
  c = case(name)
  strategy = c.phase.strategy
  labeled = [s for s, v in strategy.streams.items() if v.labeled]
  spec, hyper, walks, images = c.phase.spec, c.phase.hyper, walks_of(c.phase, c.state), jnp.asarray(c.data.images)
  batch, _ = jax.eval_shape(
    lambda *args: step.batches(spec, *args), strategy, hyper, c.state, walks, images, run_keys(ROOT)
  )
  for stream in strategy.streams:
    assert ('label' in batch[stream]) == (stream in labeled)
  targets = c.state.targets
  known = np.asarray(targets.label) >= 0 if targets.soft is None else np.asarray(targets.soft).sum(-1) > 0
  for stream in labeled:
    mask = np.asarray(c.state.masks[stream])
    assert not (mask if mask.dtype == bool else mask >= 0)[..., ~known].any()


@pytest.mark.parametrize('name', NAMES)
def test_saved_in_the_middle_of_an_epoch_it_goes_on_bit_by_bit(name, tmp_path):
  c = case(name)
  late = stepped(c.phase, later(c), c.data, 1)
  saved = checkpoint.Checkpoints(tmp_path, 1)
  saved.save(1, late, {})
  template = train.enter(c.phase, len(c.plan) - 1, c.data, None, ROOT, None, template=True)
  restored, _ = saved.latest(lambda record: template)
  saved.close()
  a, b = (stepped(c.phase, s, c.data, 2) for s in (late, restored))
  assert tiny.same(a, b)


def several(name: str) -> bool:
  return phases_of(name)[-1].strategy.networks > 1


SEVERAL = [name for name in NAMES if several(name)]


@pytest.mark.parametrize('name', SEVERAL)
def test_vmapped_networks_equal_unrolled_ones(name):
  c = case(name)
  late = later(c)
  vmapped = dataclasses.replace(c.phase, spec=phases_of(name, vmap=True)[-1].spec)
  assert vmapped.spec.net != c.phase.spec.net
  a, b = (stepped(phase, late, c.data, 1) for phase in (c.phase, vmapped))
  jax.tree.map(lambda x, y: assert_allclose(x, y, rtol=1e-4, atol=1e-5), learnt(a), learnt(b))


@pytest.mark.parametrize('name', SEVERAL)
def test_gradient_and_statistics_reach_every_network_and_do_not_cross(name):
  c = case(name)
  state, spec, strategy, hyper = later(c), c.phase.spec, c.phase.strategy, c.phase.hyper
  images = jnp.asarray(c.data.images)

  walks = walks_of(c.phase, state)

  def first(one, other, state, walks):
    """Gradient and statistics of network 0, whose own parameters are `one`; all others' are `other`."""
    batch, _ = step.batches(spec, strategy, hyper, state, walks, images, run_keys(ROOT))

    def objective(one):
      net = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), one, other)
      lr = hyper.optimizer.lr
      ctx = Ctx(jax.random.key(1), state.phase_epoch, hyper.epochs, 0.5, spec.classes, spec.net, state, lr)
      loss, _ = strategy.loss({**state.params, 'net': net}, state, batch, ctx)
      return loss, jax.tree.map(lambda a: a[0], ctx.stats)

    return jax.grad(objective, has_aux=True)(one)

  @jax.jit
  def moved(one, other, state, walks):
    """`first`, and what of it moves with all the other networks' parameters."""
    ones = jax.tree.map(jnp.ones_like, other)
    return jax.jvp(lambda other: first(one, other, state, walks), (other,), (ones,))

  net = state.params['net']
  one, other = jax.tree.map(lambda a: a[:1], net), jax.tree.map(lambda a: a[1:], net)
  (grad, _), (grad_moved, stats_moved) = moved(one, other, state, walks)
  assert all(np.abs(g).max() > 0 for g in jax.tree.leaves(grad['head']))
  crossed = any(bool((g != 0).any()) for g in jax.tree.leaves(grad_moved))
  assert crossed == strategy.coupled
  assert not any(bool((s != 0).any()) for s in jax.tree.leaves(stats_moved))
