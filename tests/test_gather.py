"""A step on images that a host gathered equals the step on images that all lie on the device, bit by bit."""

import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_array_equal

import tiny
from noisyjax.data.images import ArrayImages, as_images, chunks, first_of_same
from noisyjax.engine import between_epochs, gather, losses, score, step
from noisyjax.engine.spec import run_keys
from noisyjax.engine.strategy import Strategy, Views, predictions, supervised


class Wide(Strategy):
  """Two networks on rows of their own, an unlabeled stream of twice as many rows, and an empty stream."""

  networks: int = 2
  streams = {'own': Views('weak'), 'bare': Views('weak', 'weak', ratio=2, labeled=False), 'none': Views('weak')}

  def members(self, state):
    row = jnp.arange(tiny.ROWS)
    return {'own': row % 2 == jnp.arange(2)[:, None], 'bare': row > 9, 'none': jnp.zeros(tiny.ROWS, bool)}

  def score(self, logits, features, batch):
    return predictions(logits)

  def loss(self, params, state, batch, ctx):
    own, _ = ctx.net(params, batch['own']['weak'])
    bare, _ = ctx.net(params, batch['bare']['weak1'])
    none, _ = ctx.net(params, batch['none']['weak'])
    loss, out = supervised(losses.cross_entropy(own, batch['own']['target']), batch['own'], own)
    return loss + (bare**2).mean() + (none**2).mean(), out


class Counted(ArrayImages):
  """Images that are never there at once."""

  def __array__(self, dtype=None, copy=None):
    raise AssertionError('all images are asked for')


def streamed(phase, state, images, steps):
  """Returns the state after an epoch whose batches the host gathers."""
  keys, state = run_keys(tiny.ROOT), tiny.copied(state)
  walks = between_epochs.walks(state.masks, keys.walk, state.epoch, tiny.CLASSES)
  for tick in range(steps):
    rows = gather.next_rows(phase.strategy, phase.spec.batch_size, walks, np.int32(tick))
    batch = gather.on_host(rows, images)
    state, sums = step.train_step(phase.spec, phase.strategy, phase.hyper, state, None, batch, keys)
  return state, sums


def test_gathered_batches_train_bit_identically(data):
  phase = tiny.phase(Wide.build(), tiny.spec(2, ops=('flip',), mixup=True))
  start = tiny.start(phase, data)
  resident, _ = tiny.advance(phase, start, data, 4)
  found, _ = streamed(phase, start, Counted(np.asarray(data.images)), 4)
  assert tiny.same(resident, found)
  assert not tiny.same(found.params, start.params)


def test_rows_are_scored_and_predicted_without_all_images_at_once(data):
  phase = tiny.phase(Wide.build())
  state, images = tiny.start(phase, data), np.asarray(data.images)
  ask = lambda images: score.score_rows(phase.spec.net, phase.strategy, state, images, 20)
  assert tiny.same(ask(jnp.asarray(images)), ask(Counted(images)))
  said = lambda images: score.predict(phase.spec.net, phase.strategy, state.current, images, 20)
  assert tiny.same(said(images), said(Counted(images)))


def test_images_of_the_same_pixels_are_known_by_their_first_row():
  images = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), np.uint8)
  images[3], images[5] = images[1], images[1]
  assert first_of_same(ArrayImages(images)).tolist() == [0, 1, 2, 1, 4, 1]


def test_an_array_becomes_images_and_images_stay_what_they_are(monkeypatch):
  array = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2, 1)
  images = as_images(array)
  assert as_images(images) is images
  assert (len(images), images.shape) == (7, (7, 2, 2, 1))
  assert_array_equal(jnp.asarray(images), array)
  assert_array_equal(images.take(np.array([5, 0])), array[[5, 0]])
  monkeypatch.setattr('noisyjax.data.images.CHUNK', 3)
  assert [len(c) for c in chunks(images)] == [3, 3, 1]
  assert_array_equal(np.concatenate([*chunks(images, np.array([6, 1, 2, 3]))]), array[[6, 1, 2, 3]])
