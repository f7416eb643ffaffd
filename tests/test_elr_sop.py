"""ELR, ELR+, SOP and SOP+: steps against float64 references, memories, and per-row learnables."""

import jax
import jax.numpy as jnp
import numpy as np
from golden import (
  DATA,
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
  mirroring,
  mixed,
  notices,
  rows_of,
  softmax,
  step_key,
  views,
)
from numpy.testing import assert_allclose, assert_array_equal

import tiny
from noisyjax.engine import losses
from noisyjax.engine.state import Snapshot
from noisyjax.strategies import elr, elr_plus, sop, sop_plus
from tiny import BATCH, CLASSES, ROWS

RNG = np.random.default_rng(5)


def slope(loss, at, step=1e-6):
  """Gradient of Σ loss(at [..., n]) [...] by `at`, where a loss reads its own row only: central differences."""
  moves = [step * e for e in np.eye(at.shape[-1])]
  return np.stack([(loss(at + m) - loss(at - m)) / (2 * step) for m in moves], -1)


def clamped(p):
  return np.clip(p, 1e-4, 1 - 1e-4)


def early(z, aim):
  return np.log(1 - (clamped(softmax(z)) * aim).sum(-1))


def remembering(state, networks=1):
  """The state with a memory that holds something; and that memory."""
  old = RNG.dirichlet(np.ones(CLASSES), (networks, ROWS)) * 0.9
  return state.replace(extra={'memory': jnp.asarray(old, jnp.float32)}), old


# --- ELR ------------------------------------------------------------------------------------------


def check_elr(strategy):
  phase, _, state = entered(strategy)
  state, old = remembering(state)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  net = state.params['net']
  z = logits_of(net, PIXELS[index])
  p = clamped(softmax(z))
  aim = 0.7 * old[:, index] + 0.3 * p / p.sum(-1, keepdims=True)
  loss = lambda z: cross_entropy(z, GIVEN[index]) + 3.0 * early(z, aim)
  assert_descended(new, *descended(net, PIXELS[index], slope(loss, z) / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), loss(z).mean(), rtol=1e-4)
  want = old.copy()
  want[:, index] = aim
  assert_allclose(new.extra['memory'], want, rtol=1e-5, atol=1e-6)


def test_elr_takes_the_references_step_and_no_other():
  notices(check_elr, elr.Strategy.build())


def test_elr_begins_with_a_memory_of_nothing_and_its_penalty_is_worked_out():
  _, extra = elr.Strategy.build().init(jax.random.key(0), DATA)
  assert_array_equal(extra['memory'], np.zeros((1, ROWS, CLASSES)))
  logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
  assert_allclose(losses.early_learning(logits, jnp.array([[1.0, 0.0, 0.0]])), np.log(0.3), rtol=1e-5)
  assert_allclose(losses.early_learning(jnp.array([[1e4, 0.0, 0.0]]), jnp.array([[1.0, 0.0, 0.0]])), np.log(1e-4), 1e-3)


def test_elr_pulls_towards_what_it_remembers():
  logits = jnp.zeros((1, 3))
  grad = jax.grad(lambda z: losses.early_learning(z, jnp.array([[0.8, 0.1, 0.1]])).sum())(logits)
  assert grad[0, 0] < 0 < grad[0, 1]


def test_a_row_that_comes_twice_is_written_once_and_no_other_row_is():
  phase, _, state = entered(elr_plus.Strategy.build())
  members = np.zeros(ROWS, bool)
  members[[20, 30, 31]] = True
  state = state.replace(masks={'train': jnp.asarray(np.stack([members] * 2))})
  state, old = remembering(state, 2)
  new, _ = tiny.advance(phase, state, DATA)
  moved = (np.asarray(new.extra['memory']) != np.asarray(state.extra['memory'])).any((0, 2))
  assert_array_equal(moved, members)
  assert_allclose(new.extra['memory'].sum(-1)[:, members], 0.7 * old.sum(-1)[:, members] + 0.3, rtol=1e-4)
  none, _ = tiny.advance(phase, state.replace(masks={'train': jnp.zeros((2, ROWS), bool)}), DATA)
  assert_array_equal(none.extra['memory'], state.extra['memory'])
  assert tiny.same(none.params, state.params)


# --- ELR+ -----------------------------------------------------------------------------------------


def averaged_plus(strategy):
  """ELR+ in epoch 6 of 20, with a memory and with averaged networks that are not the networks."""
  phase, _, state = entered(strategy, epoch=6)
  spec = tiny.spec(2, tiny.Linear(CLASSES), ema=True)
  average = jax.tree.map(lambda a: a + jax.random.normal(jax.random.key(3), a.shape), state.params['net'])
  state, old = remembering(state.replace(ema=Snapshot(average, state.stats)), 2)
  return tiny.replaced(phase, spec=spec), state, old, average


def check_elr_plus(strategy):
  phase, state, old, average = averaged_plus(strategy)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(np.stack([LABELED] * 2))  # [2, B]: each network in an order of its own
  assert (index[0] != index[1]).any()
  here = np.arange(2)[:, None], index
  teacher = softmax(logits_of(average, PIXELS[index][::-1]))[::-1]  # the other's average, on the images as they are
  aim = 0.7 * old[here] + 0.3 * teacher
  want = old.copy()
  want[here] = aim
  assert_allclose(new.extra['memory'], want, rtol=1e-4, atol=1e-5)
  both = np.concatenate([GIVEN[index], aim], -1)
  pixels, both = mixed(step_key(state), 1.0, PIXELS[index], both)
  target, aim = both[..., :CLASSES], both[..., CLASSES:]
  assert (np.sort(target)[..., -2] > 0.05).any()  # something was mixed
  if strategy.reweigh:
    target = target * aim / (target * aim).sum(-1, keepdims=True)
  rise = np.exp(-5 * (1 - 6 / 10) ** 2) if strategy.ramp > 0 else 1.0
  net = state.params['net']
  z = logits_of(net, pixels)
  loss = lambda z: cross_entropy(z, target) + rise * 3.0 * early(z, aim)
  assert_descended(new, *descended(net, pixels, slope(loss, z) / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), loss(z).mean(), rtol=1e-4)


def test_elr_plus_takes_the_references_step_and_no_other():
  notices(check_elr_plus, elr_plus.Strategy.build())


def test_elr_plus_as_on_cifar_100():
  check_elr_plus(elr_plus.Strategy.build(reweigh=True, ramp=10.0))


def test_elr_plus_without_mixup_is_elr_with_the_others_memory():
  phase, state, old, average = averaged_plus(elr_plus.Strategy.build(alpha=0.0))
  _, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(np.stack([LABELED] * 2))
  aim = 0.7 * old[np.arange(2)[:, None], index] + 0.3 * softmax(logits_of(average, PIXELS[index][::-1]))[::-1]
  z = logits_of(state.params['net'], PIXELS[index])
  assert_allclose(tiny.mean(metrics, 'loss'), (cross_entropy(z, GIVEN[index]) + 3 * early(z, aim)).mean(), rtol=1e-4)


# --- SOP ------------------------------------------------------------------------------------------


def learnt_noise(state):
  """The state with u and v that have grown, some past 1, where they are clipped; and both."""
  own = {k: RNG.normal(size=a.shape) * 0.6 for k, a in state.params['own'].items()}
  own['u'][::5] = 1.3
  own['v'][::7] = -1.2
  return state.replace(params={**state.params, 'own': jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), own)}), own


def explained(z, u, v, y, held_v=None):
  """SOP's loss per row and its predictions; `held_v`: v in the first term, which does not teach it."""
  plus, minus = np.clip(u**2 * y, 0, 1), np.clip(v**2 * (1 - y), 0, 1)
  held = minus if held_v is None else np.clip(held_v**2 * (1 - y), 0, 1)
  p = np.maximum(softmax(z) + plus - held, 1e-4)
  p = np.maximum(p / p.sum(-1, keepdims=True), 1e-4)
  hard = np.eye(CLASSES)[z.argmax(-1)]
  return -(y * np.log(p)).sum(-1) + ((hard + plus - minus - y) ** 2).sum(-1), p


def assert_noise_descended(new, own, index, grad_u, grad_v, lr_u, lr_v):
  want = {k: a.copy() for k, a in own.items()}
  want['u'][index] -= lr_u * grad_u / BATCH
  want['v'][index] -= lr_v * grad_v / BATCH
  for name in ('u', 'v'):
    assert np.abs(want[name] - own[name]).max() > 1e-2
    assert_allclose(new.params['own'][name], want[name], rtol=1e-3, atol=1e-4)


def check_sop(strategy):
  phase, _, state = entered(strategy)
  state, own = learnt_noise(state)
  new, metrics = tiny.advance(phase, state, DATA)
  index = rows_of(LABELED)
  u, v, y = own['u'][index], own['v'][index], GIVEN[index]
  net = state.params['net']
  z = logits_of(net, PIXELS[index])[0]
  assert_descended(new, *descended(net, PIXELS[index], slope(lambda z: explained(z, u, v, y)[0], z)[None] / BATCH))
  assert_allclose(tiny.mean(metrics, 'loss'), explained(z, u, v, y)[0].mean(), rtol=1e-4)
  grad_u = slope(lambda u: explained(z, u, v, y)[0], u)
  grad_v = slope(lambda w: explained(z, u, w, y, held_v=v)[0], v)
  assert_noise_descended(new, own, index, grad_u, grad_v, 2.0, 3.0)


def test_sop_takes_the_references_step_and_no_other():
  notices(check_sop, sop.Strategy.build(lr_u=2.0, lr_v=3.0))


def test_sop_begins_next_to_nothing_with_a_u_and_a_v_for_every_row():
  own, extra = sop.Strategy.build().init(jax.random.key(0), DATA)
  assert own['u'].shape == (ROWS, 1) and own['v'].shape == (ROWS, CLASSES) and not extra
  assert_allclose([np.std(own['u']), np.std(own['v'])], 1e-8, rtol=0.3)
  assert own['u'].dtype == own['v'].dtype == jnp.float32


def test_sop_without_noise_terms_is_cross_entropy_and_whether_it_is_right():
  z = jnp.asarray(RNG.normal(size=(1, BATCH, CLASSES)), jnp.float32)
  y = jnp.asarray(GIVEN[20 : 20 + BATCH], jnp.float32)
  zero = {'u': jnp.zeros((BATCH, 1)), 'v': jnp.zeros((BATCH, CLASSES))}
  per, probs = sop.explained(zero, {'target': y, 'index': jnp.arange(BATCH)}, z)
  wrong = z.argmax(-1) != y.argmax(-1)
  assert_allclose(per, losses.cross_entropy(z, y) + 2.0 * wrong, rtol=1e-4)
  assert_allclose(probs, softmax(np.asarray(z)), rtol=1e-4)


def test_sops_noise_explains_a_wrong_label_away():
  z = jnp.array([[[0.0, 9.0, 0.0]]])
  batch = {'target': jnp.array([[1.0, 0.0, 0.0]]), 'index': jnp.array([0])}
  loss = lambda own: sop.explained(own, batch, z)[0].sum()
  small = {'u': jnp.full((1, 1), 0.1), 'v': jnp.full((1, 3), 0.1)}
  grad = jax.grad(loss)(small)
  assert grad['u'][0, 0] < 0 and grad['v'][0, 1] < 0  # both grow: the label's part up, the prediction's down
  assert grad['v'][0, 0] == 0
  grown = {'u': jnp.ones((1, 1)), 'v': jnp.array([[0.0, 1.0, 0.0]])}
  assert loss(grown) < 0.01 < 2 < loss(small)
  pull = lambda own: jax.grad(lambda z: sop.explained(own, batch, z)[0].sum())(z)
  assert np.abs(pull(grown)).max() < 1e-3


def test_rows_outside_the_batch_and_empty_streams_keep_their_noise():
  for strategy in (sop.Strategy.build(), sop_plus.Strategy.build()):
    phase, _, state = entered(strategy)
    state, _ = learnt_noise(state)
    new, _ = tiny.advance(phase, state, DATA, 3)
    still = ~(LABELED & IN)
    assert_array_equal(new.params['own']['v'][still], state.params['own']['v'][still])
    none, _ = tiny.advance(phase, state.replace(masks={'train': jnp.zeros(ROWS, bool)}), DATA)
    assert tiny.same(none.params, state.params) and int(none.bad_step) == -1


# --- SOP+ -----------------------------------------------------------------------------------------


def check_sop_plus(strategy):
  phase, _, state = entered(strategy)
  phase = mirroring(phase, weak=())
  state, own = learnt_noise(state)
  new, metrics = tiny.advance(phase, state, DATA)
  weak, strong = views(sop_plus.Strategy.build(), phase, state)['train'].values()
  index = rows_of(LABELED)
  assert_array_equal(weak, PIXELS[index])
  u, v, y = own['u'][index], own['v'][index], GIVEN[index]
  net = state.params['net']
  z, x = logits_of(net, weak)[0], logits_of(net, strong)[0]
  p = softmax(z)
  kl = lambda x: (p * (np.log(p) - np.log(softmax(x)))).sum(-1)

  def even(z, u):
    """Class balance of the batch, whose every row it joins."""
    return -np.log(explained(z, u, v, y)[1].mean(0)).mean()

  def joined(f, at, h=1e-6):
    out = np.zeros_like(at)
    for i in np.ndindex(at.shape):
      move = np.zeros_like(at)
      move[i] = h
      out[i] = (f(at + move) - f(at - move)) / (2 * h)
    return out

  by_weak = slope(lambda z: explained(z, u, v, y)[0], z) / BATCH + 0.2 * joined(lambda z: even(z, u), z)
  by_strong = 0.5 * (softmax(x) - p) / BATCH
  both = np.concatenate([weak, strong])
  assert_descended(new, *descended(net, both, np.concatenate([by_weak, by_strong])[None], LR))
  assert_allclose(tiny.mean(metrics, 'loss'), (explained(z, u, v, y)[0] + 0.5 * kl(x)).mean(), rtol=1e-4)
  want = explained(z, u, v, y)[0].mean() + 0.5 * kl(x).mean() + 0.2 * even(z, u)
  assert_allclose(tiny.mean(metrics, 'objective'), want, rtol=1e-4)
  grad_u = slope(lambda u: explained(z, u, v, y)[0], u) + BATCH * 0.2 * joined(lambda u: even(z, u), u)
  grad_v = slope(lambda w: explained(z, u, w, y, held_v=v)[0], v)
  assert_noise_descended(new, own, index, grad_u, grad_v, 2.0, 3.0)


def test_sop_plus_takes_the_references_step_and_no_other():
  notices(check_sop_plus, sop_plus.Strategy.build(lr_u=2.0, lr_v=3.0, consistency=0.5, balance=0.2))


def test_mixup_of_the_config_is_refused_by_all_four():
  assert all(module.Strategy.mix is None for module in (elr, elr_plus, sop, sop_plus))
