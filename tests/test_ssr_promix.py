"""SSR+ and ProMix against float64 references: the rows that they relabel, select and add."""

import types

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
  LR,
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
from sklearn.neighbors import KNeighborsClassifier

import tiny
from noisyjax.engine import between_epochs
from noisyjax.engine.state import Targets
from noisyjax.strategies import promix, ssr_plus
from noisyjax.strategies.shared import mixtures, semi
from tiny import BATCH, CLASSES, ROWS

SSR = ssr_plus.Strategy.build(relabel=0.55, neighbours=7, consistency=0.5, hidden=6, projected=4, decay=0.0)
PROMIX = promix.Strategy.build(
  rho=0.3, tau=0.45, expand=0.8, fill=0.7, ramp=20.0, debias=0.7, debias_guess=0.5, decay=0.0, fmix=False
)


def finite(state):
  return int(state.bad_step) == -1 and all(np.isfinite(a).all() for a in jax.tree.leaves((state.params, state.extra)))


# --- SSR+ -----------------------------------------------------------------------------------------


def ssr_targets(net):
  """Labels and selected rows under the networks before the epoch: θ_r 0.55, θ_s 1, k 7, features = pixels."""
  probs = softmax(logits_of(net, PIXELS)[0])
  label = np.where(IN & (probs.max(-1) > 0.55), probs.argmax(-1), DATA.given)
  usable = IN & (label >= 0)
  unit = PIXELS / np.linalg.norm(PIXELS, axis=1, keepdims=True)
  near = np.where(usable, unit @ unit.T, -np.inf).argsort(1)[:, -7:]
  votes = EYE[label[near]].sum(1) / np.bincount(label[usable], minlength=CLASSES)
  chosen = usable & (votes[np.arange(ROWS), label] == votes.max(-1))
  changed = label != DATA.given
  assert changed[LABELED].any() and changed[~LABELED & IN].any() and 5 < chosen.sum() < usable.sum() - 5
  return label, usable, chosen


def dense(own, name, x):
  x = x @ own[f'{name}_in']
  x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
  return np.maximum(own[f'{name}_scale'] * x + own[f'{name}_shift'], 0) @ own[f'{name}_out'] + own[f'{name}_out_bias']


def check_ssr(strategy):
  phase, previous, state = entered(strategy)
  phase = mirroring(phase, weak=())
  new, metrics = tiny.advance(phase, state, DATA)
  label, usable, chosen = ssr_targets(previous.params['net'])
  assert_array_equal(state.targets.label, label)
  assert_array_equal(state.targets.trust, chosen[None])
  # Cross-entropy of mixup over two strong views of rows drawn class by class.
  index = rows_of(np.where(chosen, label, -1))
  assert np.bincount(label[index]).min() >= BATCH // CLASSES
  net, seen = state.params['net'], views(SSR, phase, state)
  both, target = np.concatenate([*seen['selected'].values()]), np.tile(EYE[label[index]], (2, 1))
  pixels, target = mixed(step_key(state), 4.0, both[None], target[None])
  logits = logits_of(net, pixels)
  assert_descended(new, *descended(net, pixels, mean_error(logits, target, np.ones(2 * BATCH))))
  # The feature loss, by central differences along random directions.
  every, (weak, strong) = rows_of(usable), seen['train'].values()
  assert_array_equal(weak, PIXELS[every])
  own, after = (jax.tree.map(lambda a: np.asarray(a, np.float64), s.params['own']) for s in (state, new))
  goal = dense(own, 'project', weak)

  def apart(own):
    guess = dense(own, 'predict', dense(own, 'project', strong))
    return -((guess * goal).sum(1) / np.linalg.norm(guess, axis=1) / np.linalg.norm(goal, axis=1)).mean()

  rng = np.random.default_rng(0)
  for _ in range(3):
    way = jax.tree.map(lambda a: rng.normal(size=a.shape), own)
    ahead, behind = (apart(jax.tree.map(lambda a, d, size=size: a + size * d, own, way)) for size in (1e-6, -1e-6))
    slope = 0.5 * (ahead - behind) / 2e-6
    found = sum(((own[k] - after[k]) / LR * way[k]).sum() for k in own)
    assert_allclose(found, slope, rtol=5e-3, atol=1e-4)
  assert_allclose(tiny.mean(metrics, 'apart'), apart(own), rtol=1e-4)
  assert_allclose(tiny.mean(metrics, 'chosen'), chosen[every].mean(), rtol=1e-5)


def test_ssr_steps_as_the_reference_and_no_other():
  notices(check_ssr, SSR)


def test_ssr_with_nothing_selected_learns_features_alone():
  phase, _, state = entered(SSR)
  trust = jnp.zeros_like(state.targets.trust)
  state = between_epochs.begin_epoch(SSR, state.replace(targets=state.targets.replace(trust=trust)), phase.rows)
  assert not (np.asarray(state.masks['selected']) >= 0).any()
  new, _ = tiny.advance(phase, state, DATA)
  assert finite(new) and tiny.same(new.params['net'], state.params['net'])
  assert not tiny.same(new.params['own'], state.params['own'])


def test_votes_are_scikit_learns():
  rng = np.random.default_rng(1)
  features, label = rng.normal(size=(600, 8)), rng.integers(0, 5, 600)
  features /= np.linalg.norm(features, axis=1, keepdims=True)
  counts = rng.random(600) < 0.8
  fitted = KNeighborsClassifier(20, algorithm='brute', metric='cosine').fit(features[counts], label[counts])
  arguments = jnp.asarray(features, jnp.float32), jnp.asarray(label), jnp.asarray(counts)
  assert len(features) > 2 * ssr_plus.BLOCK
  found = np.asarray(ssr_plus.neighbour_votes(*arguments, 20, 5))
  assert (np.abs(found - 20 * fitted.predict_proba(features)) < 0.5).all(1).mean() > 0.995  # float32 ties apart
  few = jnp.arange(600) < 12
  all_of_them = np.bincount(label[:12], minlength=5)
  assert_array_equal(ssr_plus.neighbour_votes(*arguments[:2], few, 20, 5), np.tile(all_of_them, (600, 1)))


def ssr_refreshed(probs, label, epoch=3, given=None, features=None, rows=None, **fields):
  strategy = ssr_plus.Strategy.build(neighbours=3, **fields)
  count = len(label)
  targets = Targets(jnp.asarray(label), None, jnp.ones(count), jnp.ones((1, count)))
  given = label if given is None else given
  state = types.SimpleNamespace(targets=targets, extra={'given': jnp.asarray(given)})
  rows = jnp.ones(count, bool) if rows is None else jnp.asarray(rows)
  ctx = types.SimpleNamespace(epoch=jnp.int32(epoch), rows=rows, classes=probs.shape[-1])
  features = np.eye(count) if features is None else features
  scores = {'guess': probs.argmax(-1), 'sure': probs.max(-1), 'features': features}
  return strategy.refresh(state, {name: jnp.asarray(score)[None] for name, score in scores.items()}, ctx)


def test_ssr_relabels_the_given_label_above_the_threshold_and_gives_it_back_below():
  probs = np.array([[0.95, 0.05], [0.9, 0.1], [0.5, 0.5], [0.05, 0.95], [0.02, 0.98]], np.float32)
  label, given = np.array([1, 1, 0, 1, 0]), np.array([1, 1, 1, -1, 0])
  rows = np.array([True, True, True, True, False])
  targets, extra = ssr_refreshed(probs, label, given=given, rows=rows)
  # Confident; not above 0.9; back to what was given; an unlabeled row joins; a held row stays.
  assert_array_equal(targets.label, [0, 1, 1, 1, 0])
  assert not targets.trust[0, 4]
  assert_array_equal(extra['given'], given)
  _, extra = ssr_refreshed(probs, label, epoch=0, given=given)
  assert_array_equal(extra['given'], label)  # as the phase finds them


def test_ssr_votes_are_balanced_and_the_threshold_is_a_part_of_the_largest():
  # Row 3, of the rare class 1, sees itself and two of the four of class 0: 1/1 against 2/4. Row 4 sees 0, 0, 1.
  unit = np.array([[1, 0.1], [1, 0.2], [1, -0.9], [1, 0.12], [1, 0.15]], np.float32)
  unit /= np.linalg.norm(unit, axis=1, keepdims=True)
  label = np.array([0, 0, 0, 1, 0])
  probs = np.full((5, 2), 0.5, np.float32)
  unit_votes = np.asarray(ssr_plus.neighbour_votes(jnp.asarray(unit), jnp.asarray(label), jnp.ones(5, bool), 3, 2))
  balanced = unit_votes / [4, 1]
  share = balanced[np.arange(5), label] / balanced.max(1)
  assert share[3] == 1.0 and 0 < share[4] < 1
  for select in (1.0, 0.5, 0.1):
    targets, _ = ssr_refreshed(probs, label, features=unit, select=select)
    assert_array_equal(targets.trust[0], share >= select)


# --- ProMix ---------------------------------------------------------------------------------------


def small_losses(net):
  """Per network and class the ⌈0.3 n/3⌉ smallest losses."""
  loss = cross_entropy(logits_of(net, PIXELS), GIVEN)  # [2, N]
  out = np.zeros((2, ROWS), bool)
  for m in range(2):
    for c in range(CLASSES):
      rows = np.flatnonzero(LABELED & (DATA.given == c))
      out[m, rows[np.argsort(loss[m, rows])][: int(np.ceil(0.3 * LABELED.sum() / CLASSES))]] = True
  return out


def shuffled(key, chosen):
  """The partner of each row, int [2, B]: chosen rows in one random order meet the chosen rows in another."""
  out = np.tile(np.arange(BATCH), (2, 1))
  for m, own in enumerate(jax.random.split(key, 2)):
    rows = np.flatnonzero(chosen[m])
    first, second = rows[np.argsort(np.asarray(jax.random.uniform(own, (2, BATCH)))[:, rows])]
    out[m, first] = second
  return out


def check_promix(strategy, epoch=6, ramp=20.0, adds=True):
  phase, previous, state = entered(strategy, epoch=epoch)
  phase = mirroring(phase, weak=())
  rng = np.random.default_rng(2)
  bias = {k: rng.dirichlet([3.0] * CLASSES, 2) for k in ('chosen', 'other')}
  assert_allclose(state.extra['other'], 1 / 3, rtol=1e-6)
  state = state.replace(extra={k: jnp.asarray(v, jnp.float32) for k, v in bias.items()})
  new, metrics = tiny.advance(phase, state, DATA)
  small = small_losses(previous.params['net'])
  assert_array_equal(state.targets.trust, small)

  net, own = state.params['net'], jax.tree.map(lambda a: np.asarray(a, np.float64), state.params['own'])
  index = rows_of(LABELED)
  (pixels, strong), label = views(PROMIX, phase, state)['train'].values(), GIVEN[index]
  assert_array_equal(pixels, PIXELS[index])
  weak = logits_of(net, pixels)  # [2, B, C]
  probs = softmax(weak)
  known = small[:, index] | ((label * probs).sum(-1) > 0.45)
  agreed = (probs.max(-1) > 0.45).all(0) & (probs[0].argmax(-1) == probs[1].argmax(-1))
  chosen = known.copy()
  for m in range(2 * adds):
    new_rows = np.flatnonzero(agreed & ~known[m])
    best = new_rows[np.argsort(-probs.max(-1).mean(0)[new_rows])]
    chosen[m, best[: max(int(0.7 * BATCH) - known[m].sum(), 0)]] = True
  assert (chosen != known).any() == adds and not chosen.all(1).any()
  guess = EYE[(weak - 0.5 * np.log(bias['chosen'])[:, None]).argmax(-1)]
  target = np.where(known[..., None], label, guess)
  keys = jax.random.split(jax.random.fold_in(jax.random.fold_in(step_key(state), 1 << 16), 0))
  lam_key, partner_key = jax.random.split(keys[0])
  lam = np.asarray(jax.random.beta(lam_key, 4.0, 4.0, (2,)), np.float64)
  lam = np.maximum(lam, 1 - lam)[:, None, None]
  other = shuffled(partner_key, chosen)
  assert (other != np.arange(BATCH)).any(1).all()
  blend = lam * pixels + (1 - lam) * pixels[other]
  blend_target = lam * target + (1 - lam) * np.take_along_axis(target, other[..., None], 1)
  wide = lambda x: np.broadcast_to(x, blend.shape)
  every = np.concatenate([wide(pixels), wide(strong), blend], 1)

  w, slow = min((epoch + 10) / ramp, 1), (epoch + 10) / (2 * ramp)
  second = lambda x: x @ own['kernel'] + own['bias'][:, None]
  error = lambda z, k, t, rows: mean_error(z + 0.7 * np.log(bias[k])[:, None], t, rows)

  def reliable(plain, strong, blended):
    also = w * error(strong, 'chosen', target, chosen), w * error(blended, 'chosen', blend_target, chosen)
    return np.concatenate([error(plain, 'chosen', target, chosen), *also], 1)

  assert_descended(new, *descended(net, every, reliable(weak, logits_of(net, strong), logits_of(net, blend))))
  soft = sharpened(softmax(weak - 0.5 * np.log(bias['other'])[:, None]))
  wrong = reliable(second(pixels), second(strong), second(blend))
  unsure = [error(second(pixels), 'other', soft, ~chosen), w * error(second(strong), 'other', soft, ~chosen)]
  wrong[:, : 2 * BATCH] += (0.1 * slow if slow < 1 else 0.0) * np.concatenate(unsure, 1)
  kernel = own['kernel'] - LR * np.einsum('mnp,mnc->mpc', every, wrong)
  assert_allclose(new.params['own']['kernel'], kernel, rtol=1e-4, atol=1e-5)
  assert_allclose(new.params['own']['bias'], own['bias'] - LR * wrong.sum(1), rtol=1e-4, atol=1e-5)
  for key, rows in (('chosen', chosen), ('other', ~chosen)):
    mean = (probs * rows[..., None]).sum(1) / rows.sum(1)[:, None]
    assert_allclose(new.extra[key], 0.9999 * bias[key] + 0.0001 * mean, rtol=1e-5)
    assert (np.abs(np.asarray(new.extra[key]) - bias[key]).max(1) > 1e-6).all()
  assert_allclose(tiny.mean(metrics, 'chosen'), chosen.mean(), rtol=1e-5)


def test_promix_steps_as_the_reference_and_no_other():
  notices(check_promix, PROMIX)


def test_the_second_head_of_promix_teaches_the_layers_below_it():
  phase = tiny.phase(PROMIX, tiny.spec(2), tiny.hyper(decay=0.0))
  state = tiny.start(phase, DATA)
  own = {**state.params['own'], 'kernel': state.params['own']['kernel'] + 0.5}
  other = state.replace(params={**state.params, 'own': own})
  one, two = (tiny.advance(phase, s, DATA)[0].params['net'] for s in (state, other))
  assert not tiny.same(one['conv'], two['conv']) and tiny.same(one['head'], two['head'])


def test_promix_leaves_the_unreliable_rows_after_its_ramp_and_adds_none_before_the_last_part():
  late = tiny.replaced(phase_of(PROMIX), {'ramp': 12.0, 'expand': 0.25}).strategy
  check_promix(late, epoch=14, ramp=12.0, adds=False)  # 24 epochs of 2 · 12; progress 0.7 < 0.75


@pytest.mark.parametrize('trusted, tau', [(0.0, 1.0), (1.0, 0.6)])
def test_promix_survives_empty_selections_and_keeps_their_bias(trusted, tau):
  strategy = tiny.replaced(phase_of(PROMIX), {'tau': tau}).strategy
  phase, _, state = entered(strategy)
  trust = jnp.full_like(state.targets.trust, trusted)
  new, metrics = tiny.advance(phase, state.replace(targets=state.targets.replace(trust=trust)), DATA)
  assert finite(new) and tiny.mean(metrics, 'chosen') == trusted
  empty, full = ('chosen', 'other') if trusted == 0 else ('other', 'chosen')
  assert_array_equal(new.extra[empty], state.extra[empty])
  assert (new.extra[full] != state.extra[full]).any()
  assert tiny.same(new.params['net'], state.params['net']) == (trusted == 0)


@pytest.mark.parametrize('rho, size, kept', [(0.7, 10, 7), (0.5, 10, 5), (0.55, 10, 6), (0.01, 10, 1)])
def test_promix_chooses_the_same_number_of_each_class(rho, size, kept):
  rng = np.random.default_rng(3)
  label = np.repeat(np.arange(5), size)
  label[: size // 2] = 1  # class 0 is half as large, class 1 half as large again
  label[size * 2 : size * 3 - 2] = -1  # class 2 has two rows and the rest of it no label
  count = len(label)
  loss = rng.random((2, count)).astype(np.float32)
  targets = Targets(jnp.asarray(label), None, jnp.ones(count), jnp.ones((2, count)))
  state = types.SimpleNamespace(targets=targets, extra={})
  rows = np.ones(count, bool)
  share = 5 * size / (label >= 0).sum()  # so that rho · rows / classes is what the table says
  strategy = promix.Strategy.build(rho=rho * share)
  ctx = types.SimpleNamespace(rows=jnp.asarray(rows), classes=5)
  trust = np.asarray(strategy.refresh(state, {'loss': jnp.asarray(loss)}, ctx)[0].trust)
  for m in range(2):
    assert not trust[m, label < 0].any()
    for c in range(5):
      own = label == c
      n = min(kept, own.sum())
      assert trust[m, own].sum() == n
      assert loss[m, own & (trust[m] == 1)].max() == np.sort(loss[m, own])[n - 1]


def test_promix_adds_the_surest_rows_on_which_both_agree_until_the_batch_is_filled():
  sure, other, unsure = [0.95, 0.05], [0.05, 0.95], [0.6, 0.4]
  first = [sure, [0.99, 0.01], sure, unsure, [0.97, 0.03], sure, sure, sure, sure, sure]
  second = [sure, [0.99, 0.01], other, sure, [0.97, 0.03], sure, sure, sure, sure, sure]
  probs = jnp.asarray([first, second])
  chosen = jnp.asarray([[i >= 6 for i in range(10)], [i >= 1 for i in range(10)]])
  found = promix.expanded(probs, chosen, jnp.ones(10, bool), 0.9, 0.6)  # 6 of 10: network 0 has 4, network 1 has 9
  assert_array_equal(np.flatnonzero(found[0]), [1, 4])
  assert not found[1].any()
  valid = jnp.arange(10) != 1
  assert_array_equal(np.flatnonzero(promix.expanded(probs, chosen & valid, valid, 0.9, 0.9)[0]), [0, 4, 5])


def test_partners_permute_the_chosen_rows_among_themselves():
  chosen = jnp.asarray(np.random.default_rng(4).random((2, 40)) < 0.4)
  seen = set()
  for seed in range(5):
    partner = np.asarray(semi.partners(jax.random.key(seed), chosen))
    for m in range(2):
      rows = np.flatnonzero(chosen[m])
      assert sorted(partner[m, rows]) == list(rows)
      seen.add(tuple(partner[m, rows]))
  assert len(seen) == 10


def test_fmix_pastes_the_same_region_into_all_rows_of_a_network_and_mixes_two_classes():
  rng = np.random.default_rng(5)
  images = np.broadcast_to(np.arange(12.0)[:, None, None, None], (12, 8, 6, 1))  # a pixel says whose it is
  probs, chosen = jnp.asarray(rng.dirichlet(np.ones(3), (2, 12))), jnp.asarray(rng.random((2, 12)) < 0.7)
  shares = []
  for seed in range(4):
    made, blended = map(np.asarray, mixtures.fmix(jax.random.key(seed), images, probs, chosen))
    for m, label in enumerate(np.asarray(probs).argmax(-1)):
      rows = np.flatnonzero(chosen[m])
      kept = made[m, rows, ..., 0] == rows[:, None, None]  # [n, 8, 6]
      mates = [sorted({*made[m, row].ravel().astype(int)} - {row}) for row in rows]
      assert all(len(mate) <= 1 and {*mate} <= {*rows} for mate in mates)
      masks = {own.tobytes(): own.mean() for own, mate in zip(kept, mates) if mate}
      assert len(masks) == 1
      for row, mate in zip(rows, mates):
        if mate and label[row] != label[mate[0]]:
          share, rest = blended[m, row, label[[row, mate[0]]]]
          assert abs(share - next(iter(masks.values()))) <= 1 / 48 and share + rest == pytest.approx(1)
          shares.append(share)
  assert len(shares) > 20 and len({round(float(share), 6) for share in shares}) == 8


@pytest.mark.parametrize('epochs, first', [(1, 0), (2, 1), (3, 1), (10, 5), (200, 10), (600, 10)])
def test_promix_plans_a_warm_up_of_two_networks(epochs, first):
  *start, last = promix.Strategy.build().phases('promix', epochs)
  assert last == ('promix', epochs - first, {'strategy.promix.warmup': first})  # from which its ramps count
  assert [n for _, n, _ in start] == [first] * (first > 0)
  for name, _, overrides in start:
    assert (name, overrides['strategy.naive.networks']) == ('naive', 2)


def test_gradients_of_paced_learnables_carry_the_rate():
  own = {'a': jnp.array([1.1, -2.3])}
  value, grad = jax.value_and_grad(lambda o: (semi.paced(o, jnp.float32(0.02))['a'] ** 2).sum())(own)
  assert_allclose(value, 6.5, rtol=1e-6)
  assert_allclose(grad['a'], [0.044, -0.092], rtol=1e-5)
