"""Augmentation: keyed by row, planted geometry, and PIL, SciPy, colorsys as oracles."""

import colorsys
import dataclasses
import functools
import io
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from noisyjax.engine.augment import color, geometry, jpeg, mixup, ops, policies
from noisyjax.engine.augment.policies import POOL, RANGES, SIGNED_SUB_POLICIES, SUB_POLICIES
from noisyjax.engine.augment.strength import Strength, check_strength
from noisyjax.system.errors import UserError

STILL = Strength(
  rotation=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, scale=(1.0, 1.0), ratio=(1.0, 1.0), magnitude=0.0
)
NAMES = sorted(name for name in ops.OPS if not name.startswith('feature_'))  # those of pixels


def photos(batch=16, height=16, width=16, channels=3, seed=0):
  """Smooth coloured blobs with some noise, whole values in 0..255."""
  rng = np.random.default_rng(seed)
  noise = scipy.ndimage.gaussian_filter(rng.normal(size=(batch, height, width, channels)), (0, 2, 2, 0))
  noise = noise / noise.std() + rng.normal(size=noise.shape) * 0.1
  return np.clip(np.round(128 + 50 * noise), 0, 255).astype(np.float32)


def row_keys(rows):
  return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(7), jnp.asarray(rows))


@functools.partial(jax.jit, static_argnums=0)
def view(names, strength, rows, images):
  return ops.augment(names, strength, row_keys(rows), images)


recolor = jax.jit(policies.recolor)
warp = jax.jit(geometry.warp)
affine = jax.jit(policies.geometry, static_argnums=(2, 3))
rotation = jax.jit(geometry.rotation, static_argnums=(1, 2))


@jax.jit
def one_op(image, choice, value):
  return policies._one_after_another(image, choice[None], value[None], geometry.BLACK)


def amount(name, level):
  """The pool's amount at a level from -1 to 1, where 0 is the nearest to no change."""
  _, nearest, farthest = RANGES[name]
  return nearest + level * (farthest - nearest)


def pil(image):
  image = np.asarray(image).astype(np.uint8)
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def array(picture, channels):
  return np.asarray(picture).astype(np.float32).reshape(*picture.size[::-1], channels)


# --- the contract of every op ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
def test_a_row_gets_the_same_view_in_any_company_and_place(name):
  images, others = photos(12), photos(12, seed=1)
  whole = np.asarray(view((name,), Strength(), np.arange(12), images))
  assert whole.shape == images.shape and whole.min() >= 0.0 and whole.max() <= 255.0
  rows, batch = np.arange(20, 32), others.copy()
  rows[[1, 5, 10]], batch[[1, 5, 10]] = [7, 2, 11], images[[7, 2, 11]]
  np.testing.assert_array_equal(np.asarray(view((name,), Strength(), rows, batch))[[1, 5, 10]], whole[[7, 2, 11]])


def test_a_row_gets_the_same_view_in_a_smaller_batch():
  images, names = photos(12), ('crop', 'flip', 'jitter')
  whole = view(names, Strength(), np.arange(12), images)
  np.testing.assert_allclose(view(names, Strength(), np.arange(5, 8), images[5:8]), whole[5:8], atol=1e-3)


@pytest.mark.parametrize('name', NAMES)
def test_rows_differ(name):
  same = np.repeat(photos(1), 12, axis=0)
  views = np.asarray(view((name,), Strength(), np.arange(12), same))
  assert len(np.unique(views.reshape(12, -1), axis=0)) >= (2 if name == 'flip' else 6)


EXTREME = Strength(brightness=2.0, contrast=2.0, saturation=2.0, hue=0.5, cutout=5, draws=1)


@pytest.mark.parametrize('name', NAMES)
def test_gray_oblong_images_keep_shape_type_and_range(name):
  images = photos(4, 12, 20, channels=1)
  views = view((name,), EXTREME, np.arange(4), images)
  assert views.shape == images.shape and views.dtype == jnp.float32
  assert np.isfinite(views).all() and views.min() >= 0.0 and views.max() <= 255.0


# rand_augment op by op compiles some hundred small programs
@pytest.mark.parametrize(
  'name', [pytest.param(n, marks=pytest.mark.slow) if n.endswith('_augment') else n for n in NAMES]
)
def test_jit_is_eager(name):
  images = photos(4, 12, 20, channels=1)
  eager = ops.augment((name,), EXTREME, row_keys(np.arange(4)), jnp.asarray(images))
  np.testing.assert_allclose(eager, view((name,), EXTREME, np.arange(4), images), atol=2e-2)


@pytest.mark.parametrize(
  'name', [name for name in NAMES if name not in ('flip', 'auto_augment', 'signed_auto_augment', 'jpeg')]
)
def test_no_strength_no_change(name):
  still = dataclasses.replace(STILL, pad=0) if 'crop' in name else STILL
  still = dataclasses.replace(still, cutout=0) if 'cutout' in name else still
  np.testing.assert_allclose(view((name,), still, np.arange(12), photos(12)), photos(12), atol=1e-3)


def test_ops_run_in_order_and_a_repeated_op_draws_anew():
  images = photos(16)
  once = view(('crop',), Strength(), np.arange(16), images)
  twice = np.asarray(view(('crop', 'crop'), Strength(), np.arange(16), images))
  keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(row_keys(np.arange(16)), 1)
  np.testing.assert_array_equal(twice, jax.jit(jax.vmap(ops.crop, in_axes=(0, 0, None)))(keys, once, Strength()))
  # were the second draw the first one's, every shift would be even
  assert any(not np.array_equal(np.roll(image, (0, 0), (0, 1)), other) for image, other in zip(once, twice))
  np.testing.assert_array_equal(view((), Strength(), np.arange(16), images), images)


def test_one_trace_for_every_strength():
  @functools.partial(jax.jit, static_argnums=0)
  @chex.assert_max_traces(n=1)
  def step(names, strength, keys, images):
    return ops.augment(names, strength, keys, images)

  keys, images = row_keys(np.arange(4)), photos(4)
  weak = check_strength('augment', {'rotation': 5, 'magnitude': 3, 'scale': (0.5, 1)})
  strong = check_strength('augment', {'rotation': 45.0, 'magnitude': 10.0, 'scale': [0.1, 0.9]})
  assert (
    step.lower(tuple(NAMES), weak, keys, images).as_text() == step.lower(tuple(NAMES), strong, keys, images).as_text()
  )


# --- geometry --------------------------------------------------------------------------------------------------------


def test_crop_is_a_window_of_the_padded_image():
  images = photos(200, 8, 10)
  views = np.asarray(view(('crop',), Strength(pad=2), np.arange(200), images))
  shifts = set()
  for image, cropped in zip(images, views):
    framed = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    found = [(y, x) for y in range(5) for x in range(5) if np.array_equal(framed[y : y + 8, x : x + 10], cropped)]
    assert len(found) == 1
    shifts.update(found)
  assert len(shifts) == 25  # 200 draws of 25 windows: P(one missing) < 1 %, and the key is fixed


def test_reflect_crop_is_a_window_of_the_reflected_image():
  images = photos(40, 8, 10)
  views = np.asarray(view(('reflect_crop',), Strength(pad=2), np.arange(40), images))
  for image, cropped in zip(images, views):
    framed = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode='reflect')
    windows = (framed[y : y + 8, x : x + 10] for y in range(5) for x in range(5))
    assert sum(np.array_equal(window, cropped) for window in windows) == 1


def test_flip_mirrors_half_of_the_rows_exactly():
  images = photos(400, 8, 8)
  views = np.asarray(view(('flip',), Strength(), np.arange(400), images))
  mirrored = (views == images[:, :, ::-1]).all((1, 2, 3))
  kept = (views == images).all((1, 2, 3))
  assert (mirrored ^ kept).all()
  assert 160 < mirrored.sum() < 240  # four standard deviations


@pytest.mark.parametrize('turns', [0, 1, 2, 3])
def test_quarter_turns_are_exact(turns):
  image = photos(1, 9, 9)[0]
  turned = warp(image, rotation(90.0 * turns, 9, 9))
  np.testing.assert_allclose(turned, np.rot90(image, turns), atol=1e-2)


@pytest.mark.parametrize('degrees', [-50.0, 17.0, 120.0])
def test_rotation_agrees_with_scipy(degrees):
  image = photos(1, 12, 17)[0]
  ours = warp(image, rotation(degrees, 12, 17))
  theirs = scipy.ndimage.rotate(image, degrees, reshape=False, order=1, mode='grid-constant', cval=0.0)
  np.testing.assert_allclose(ours, theirs, atol=2e-2)


def test_rotate_stays_within_its_degrees():
  bar = np.zeros((1, 33, 33, 1), np.float32)
  bar[:, 16, 17:] = 255.0
  views = np.asarray(view(('rotate',), Strength(rotation=30.0), np.arange(64), np.repeat(bar, 64, axis=0)))[..., 0]
  y, x = np.mgrid[-16:17, -16:17]
  angles = np.degrees(np.arctan2(-(views * y).sum((1, 2)), (views * x).sum((1, 2))))
  assert np.abs(angles).max() < 31 and angles.min() < -24 and angles.max() > 24


def test_resized_crop_stretches_a_box_of_the_image():
  """A ramp stays a ramp: its values say which box was taken, and PIL stretches that box alike."""
  y, x = np.mgrid[:24, :24].astype(np.float32)
  ramp = np.stack([10 * y, 10 * x, 0 * x], -1)
  views = np.asarray(view(('resized_crop',), Strength(), np.arange(48), np.repeat(ramp[None], 48, axis=0)))
  areas = []
  for cropped in views:
    top, bottom = cropped[0, 0, 0] / 10, cropped[-1, 0, 0] / 10
    left, right = cropped[0, 0, 1] / 10, cropped[0, -1, 1] / 10
    box = [round(float(edge)) for edge in (left, top, right + 1, bottom + 1)]
    np.testing.assert_allclose([left, top, right + 1, bottom + 1], box, atol=1e-3)  # whole pixels
    tall, wide = box[3] - box[1], box[2] - box[0]
    areas.append(tall * wide / 24**2)
    assert 0.65 < wide / tall < 1.55  # 3/4 .. 4/3, rounded to pixels
    for channel in range(2):
      part = Image.fromarray(ramp[box[1] : box[3], box[0] : box[2], channel])
      theirs = np.asarray(part.resize((24, 24), Image.Resampling.BILINEAR))
      np.testing.assert_allclose(cropped[..., channel], theirs, atol=0.05)
  assert 0.17 < min(areas) < 0.35 and 0.8 < max(areas) <= 1.0


@pytest.mark.parametrize('size', [4, 5])
def test_cutout_is_one_gray_square_cut_by_the_border_only(size):
  images = np.full((300, 12, 12, 3), 9.0, np.float32)
  views = np.asarray(view(('cutout',), Strength(cutout=size), np.arange(300), images))
  full = 0
  for hole in (views == ops.HOLE).all(-1):
    rows, columns = hole.any(1).sum(), hole.any(0).sum()
    assert hole.sum() == rows * columns and (size - 1) // 2 <= min(rows, columns) and max(rows, columns) <= size
    full += rows == columns == size
  assert set(np.unique(views)) == {9.0, *ops.HOLE}
  # a centre is any of 12 x 12 pixels; the whole hole fits around 13 - size of them each way
  expected = 300 * ((13 - size) / 12) ** 2
  assert abs(full - expected) < 40


def official_hole(x, y, side, size):
  """CutoutAbs of USB and ProMix by Pillow, around (x, y): what it covers, [size, size]."""
  picture = Image.new('L', (size, size))
  left, top = int(max(0, x - side / 2.0)), int(max(0, y - side / 2.0))
  ImageDraw.Draw(picture).rectangle((left, top, min(size, left + side), min(size, top + side)), 1)
  return np.asarray(picture, bool)


def test_random_cutout_is_the_official_one():
  """Each row's hole is what Pillow draws for the same three numbers; without a length there is none."""
  keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(row_keys(np.arange(300)), 0)
  uniform = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (3,)))(keys))
  views = np.asarray(view(('random_cutout',), Strength(cutout=0.5), np.arange(300), np.zeros((300, 12, 12, 3))))
  for (y, x, side), shown in zip(uniform, views):
    expected = official_hole(12 * x, 12 * y, 6 * side, 12)
    np.testing.assert_array_equal(shown, np.where(expected[..., None], ops.HOLE, 0.0))


@pytest.mark.parametrize('name', ['cutout', 'random_cutout', 'crop'])
def test_below_one_a_length_is_a_part_of_the_shorter_side(name):
  images = photos(24, 16, 20)
  part, pixels = ({'pad': v, 'cutout': v} for v in (0.25, 4))
  views = [view((name,), Strength(**v), np.arange(24), images) for v in (part, pixels)]
  np.testing.assert_array_equal(*views)
  assert not np.array_equal(views[0], view((name,), Strength(pad=0.5, cutout=0.5), np.arange(24), images))


@pytest.mark.parametrize(
  'name, level, matrix',
  [
    ('shear_x', 0.5, (1, 0.15, 0, 0, 1, 0)),
    ('shear_y', -1.0, (1, 0, 0, -0.3, 1, 0)),
    ('translate_x', 0.4, (1, 0, 0.12 * 20, 0, 1, 0)),
    ('translate_y', -0.7, (1, 0, 0, 0, 1, -0.21 * 30)),
  ],
)
def test_geometry_agrees_with_pil(name, level, matrix):
  image = photos(1, 30, 20)[0]
  ours = np.asarray(warp(image, affine(POOL.index(name), amount(name, level), 30, 20)))
  planes = [Image.fromarray(image[..., channel]) for channel in range(3)]
  options = (20, 30), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
  theirs = np.stack([np.asarray(plane.transform(*options)) for plane in planes], -1)
  inside = scipy.ndimage.binary_erosion((theirs > 0).all(-1), iterations=2)  # the two differ where the image ends
  assert inside.sum() > 200
  np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.05)


def test_two_geometric_ops_compose_in_the_order_drawn():
  """One warp by the product shows what a turn and then a shift of the turned image show."""
  image = np.zeros((15, 15, 1), np.float32)
  image[7, 4] = 200.0
  shift = affine(POOL.index('translate_x'), 0.2, 15, 15)  # 3 pixels
  turn = rotation(90.0, 15, 15)
  ours = warp(image, turn @ shift)
  np.testing.assert_allclose(ours, warp(warp(image, turn), shift), atol=1e-2)
  assert not np.allclose(ours, warp(image, shift @ turn), atol=1)


# --- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
  'ours, theirs, tolerance',
  [
    (color.autocontrast, ImageOps.autocontrast, 1.0),
    (color.equalize, ImageOps.equalize, 0.0),  # 24 x 31: an even step
    (lambda x: color.equalize(x[:, :20]), lambda x: ImageOps.equalize(x.crop((0, 0, 20, 24))), 0.0),  # an odd one
    (lambda x: color.posterize(x, 3), lambda x: ImageOps.posterize(x, 3), 0.0),
    (lambda x: color.posterize(x, 8), lambda x: x, 0.0),
    (lambda x: color.solarize(x, 100.0), lambda x: ImageOps.solarize(x, 100), 0.0),
    (lambda x: color.adjust_brightness(x, 1.7), lambda x: ImageEnhance.Brightness(x).enhance(1.7), 1.0),
    (lambda x: color.adjust_brightness(x, 0.3), lambda x: ImageEnhance.Brightness(x).enhance(0.3), 1.0),
    (lambda x: color.adjust_contrast(x, 0.4), lambda x: ImageEnhance.Contrast(x).enhance(0.4), 1.5),
    (lambda x: color.adjust_contrast(x, 1.9), lambda x: ImageEnhance.Contrast(x).enhance(1.9), 2.0),
    (lambda x: color.adjust_saturation(x, 0.4), lambda x: ImageEnhance.Color(x).enhance(0.4), 1.5),
    (lambda x: color.adjust_sharpness(x, 0.1), lambda x: ImageEnhance.Sharpness(x).enhance(0.1), 1.5),
    (lambda x: color.adjust_sharpness(x, 1.9), lambda x: ImageEnhance.Sharpness(x).enhance(1.9), 2.0),
  ],
)
def test_colours_agree_with_pil(ours, theirs, tolerance, channels):
  images = photos(3, 24, 31, channels)
  expected = [array(theirs(pil(image)), channels) for image in images]
  assert np.abs(jax.jit(jax.vmap(ours))(images) - np.stack(expected)).max() <= tolerance


def test_flat_and_two_valued_channels_survive():
  flat = np.full((12, 12, 3), 40.0, np.float32)
  np.testing.assert_array_equal(color.autocontrast(flat), flat)
  np.testing.assert_array_equal(color.equalize(flat), flat)
  two = flat.copy()
  two[:, 6:] = 200.0  # 72 darker pixels are too few for a step
  np.testing.assert_array_equal(color.equalize(two), array(ImageOps.equalize(pil(two)), 3))


@pytest.mark.parametrize('shift', [-0.5, -0.1, 0.25])
def test_hue_agrees_with_colorsys(shift):
  image = photos(1, 8, 8)[0]
  image[0, 0] = 77.0  # gray has no hue
  ours = np.asarray(jax.jit(color.adjust_hue)(image, shift)) / 255
  for pixel, turned in zip(image.reshape(-1, 3) / 255, ours.reshape(-1, 3)):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    np.testing.assert_allclose(turned, colorsys.hsv_to_rgb((hue + shift) % 1.0, saturation, value), atol=1e-4)


def test_jitter_draws_factors_around_one():
  images = np.full((400, 4, 4, 3), 100.0, np.float32)
  only = dataclasses.replace(STILL, brightness=0.5)
  means = np.asarray(view(('jitter',), only, np.arange(400), images)).mean((1, 2, 3))
  assert 50 <= means.min() < 56 and 144 < means.max() <= 150 and abs(means.mean() - 100) < 6


# --- RandAugment -----------------------------------------------------------------------------------------------------


def test_recolor_and_geometry_share_the_pool():
  """Each name of the pool is a colour op, a geometric op or the identity: exactly one acts, and none at level 0."""
  image = photos(1, 24, 24)[0]
  recolored, moved = set(), set()
  for index, name in enumerate(POOL):
    if not np.allclose(recolor(image, index, amount(name, 0.9)), image, atol=0.5):
      recolored.add(name)
    if not np.allclose(affine(index, amount(name, 0.9), 20, 20), np.eye(3)):
      moved.add(name)
    still = RANGES[name][0]
    np.testing.assert_allclose(affine(index, still, 20, 20), np.eye(3), atol=1e-5)
    if name not in ('autocontrast', 'equalize'):  # these two have no level
      np.testing.assert_allclose(recolor(image, index, still), image, atol=1e-3)
  assert recolored.isdisjoint(moved) and recolored | moved == set(POOL) - {'identity'}


@pytest.mark.parametrize(
  'name, theirs',
  [
    ('brightness', lambda x: ImageEnhance.Brightness(x).enhance(0.5)),
    ('color', lambda x: ImageEnhance.Color(x).enhance(0.5)),
    ('contrast', lambda x: ImageEnhance.Contrast(x).enhance(0.5)),
    ('sharpness', lambda x: ImageEnhance.Sharpness(x).enhance(0.5)),
    ('posterize', lambda x: ImageOps.posterize(x, 6)),
    ('solarize', lambda x: ImageOps.solarize(x, 128)),
    ('equalize', ImageOps.equalize),
    ('autocontrast', ImageOps.autocontrast),
  ],
)
def test_recolor_at_level_one_half_agrees_with_pil(name, theirs):
  image = photos(1, 24, 24)[0]
  ours = np.asarray(recolor(image, POOL.index(name), amount(name, 0.5)))
  assert np.abs(ours - array(theirs(pil(image)), 3)).max() <= 1.5


@pytest.mark.parametrize('draws, probability', [(2, 0.5), (3, 1.0)])
def test_rand_augment_leaves_as_many_images_alone_as_its_draws_say(draws, probability):
  """A draw acts with `probability` x 13/14 (the identity is one of 14); the change grows with the magnitude."""
  images = np.repeat(photos(1, 8, 8), 600, axis=0)

  def change(magnitude):
    strength = Strength(magnitude=magnitude, draws=draws, probability=probability)
    return np.abs(view(('rand_augment',), strength, np.arange(600), images) - images).max((1, 2, 3))

  kept = (change(10.0) < 1e-3).mean()
  # small levels of posterize and solarize change nothing either
  assert -0.06 < kept - (1 - probability * 13 / 14) ** draws < 0.14
  assert change(0.0).max() == 0.0 and 0.0 < change(2.0).mean() < change(10.0).mean()


@pytest.mark.parametrize(
  'draws, probability, expected', [(2, 0.5, 13 / 14), (3, 1.0, 39 / 14), (1, 0.3, 0.3 * 13 / 14)]
)
def test_rand_augment_applies_as_many_operations_as_it_says(draws, probability, expected, monkeypatch):
  """Every op planted as "add 1", so that a black image's value counts the operations; a warp of the identity."""
  monkeypatch.setattr(policies, 'recolor', lambda image, choice, amount: image + (choice != POOL.index('identity')))
  monkeypatch.setattr(policies, 'geometry', lambda choice, amount, height, width: jnp.eye(3))
  strength = Strength(draws=draws, probability=probability)
  views = jax.jit(jax.vmap(policies.rand_augment, in_axes=(0, 0, None)))(
    row_keys(np.arange(4000)), np.zeros((4000, 2, 2, 1), np.float32), strength
  )
  counts = np.asarray(views)[:, 0, 0, 0]
  assert abs(counts.mean() - expected) < 0.06 and counts.max() == draws
  rate = probability * 13 / 14
  np.testing.assert_allclose(
    np.bincount(counts.astype(int), minlength=draws + 1) / 4000,
    [math.comb(draws, k) * rate**k * (1 - rate) ** (draws - k) for k in range(draws + 1)],
    atol=0.03,
  )


PIL_OPS = {
  'identity': lambda x, v: x,
  'autocontrast': lambda x, v: ImageOps.autocontrast(x),
  'brightness': lambda x, v: ImageEnhance.Brightness(x).enhance(v),
  'color': lambda x, v: ImageEnhance.Color(x).enhance(v),
  'contrast': lambda x, v: ImageEnhance.Contrast(x).enhance(v),
  'equalize': lambda x, v: ImageOps.equalize(x),
  'posterize': lambda x, v: ImageOps.posterize(x, int(v)),
  'sharpness': lambda x, v: ImageEnhance.Sharpness(x).enhance(v),
  'solarize': lambda x, v: ImageOps.solarize(x, v),
  'rotate': lambda x, v: x.rotate(v),
  'shear_x': lambda x, v: x.transform(x.size, Image.Transform.AFFINE, (1, v, 0, 0, 1, 0)),
  'shear_y': lambda x, v: x.transform(x.size, Image.Transform.AFFINE, (1, 0, 0, v, 1, 0)),
  'translate_x': lambda x, v: x.transform(x.size, Image.Transform.AFFINE, (1, 0, v * x.size[0], 0, 1, 0)),
  'translate_y': lambda x, v: x.transform(x.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, v * x.size[1])),
}


def test_rand_augment_draws_from_the_official_ranges(monkeypatch):
  """14 operations equally often, at amounts that are uniform in the ranges of USB and ProMix (`augment_list`)."""
  monkeypatch.setattr(policies, '_one_after_another', lambda image, choice, amount, border: (choice, amount, border))
  draw = jax.jit(jax.vmap(lambda key: policies.rand_augment(key, jnp.zeros((8, 8, 3)), Strength())))
  choice, amount, border = map(np.asarray, draw(row_keys(np.arange(14000))))
  assert choice.shape == (14000, 3) and (border == 0).all()
  unit, side = (0.05, 0.95), (-0.3, 0.3)
  official = dict.fromkeys(('brightness', 'color', 'contrast', 'sharpness'), unit)
  official |= dict.fromkeys(('shear_x', 'shear_y', 'translate_x', 'translate_y'), side)
  official |= {'posterize': (4, 8), 'rotate': (-30, 30), 'solarize': (0, 256)}
  for index, name in enumerate(POOL):
    drawn = amount[choice == index]
    assert abs(len(drawn) - 3000) < 250, name
    if name in official:
      low, high = official[name]
      assert scipy.stats.kstest((drawn - low) / (high - low), 'uniform').pvalue > 1e-4, name


@pytest.mark.parametrize('level', [0.2, 0.9])
@pytest.mark.parametrize('name', POOL)
def test_the_pool_s_ops_agree_with_pil(name, level):
  """Each operation of the official list, with its nearest-neighbour geometry and black borders."""
  image, value = photos(1, 32, 32)[0], amount(name, level)
  ours = np.asarray(one_op(image, np.int32(POOL.index(name)), np.float32(value)))
  theirs = array(PIL_OPS[name](pil(image), value), 3)
  assert (np.abs(ours - theirs) > 1.5).mean() < 0.005  # a pixel between two neighbours may go either way


# What the codes of SOP and SSR make of a level.
CODES = {
  'rotate': (lambda k: 3 * k, lambda k: 30 * k / 9),
  'shear_y': (lambda k: 0.03 * k, lambda k: 0.3 * k / 9),
  'translate_x': (lambda k: k / 32, lambda k: 150 / 331 * k / 9),
  'translate_y': (lambda k: k / 32, lambda k: 150 / 331 * k / 9),
  'solarize': (lambda k: 256 - int(25.6 * k), lambda k: np.linspace(256, 0, 10)[k]),
  'posterize': (lambda k: 4 - int(0.4 * k), lambda k: np.round(np.linspace(8, 4, 10))[k]),
  'invert': (lambda k: 0, lambda k: 0),
}


@pytest.mark.parametrize('code, found', [(0, policies._amounts), (1, policies._signed_amounts)], ids=['SOP', 'SSR'])
def test_auto_augment_has_the_amounts_of_the_official_code(code, found):
  for name, level in sorted({(n, level) for pair in SUB_POLICIES for n, _, level in pair}):
    if name in CODES:
      value = CODES[name][code](level)
      other = value if name in ('solarize', 'posterize', 'invert') or (name, code) == ('rotate', 1) else -value
    else:
      value, other = (0.1 + 0.18 * level,) * 2 if code == 0 else (1 + 0.1 * level, 1 - 0.1 * level)
    if name not in ('autocontrast', 'equalize'):
      np.testing.assert_allclose(found(name, level), (value, other), atol=1e-6, err_msg=f'{name} {level}')


def test_the_two_auto_augments_differ_in_two_sub_policies():
  """SOP writes level 6 where the paper has 8, and SSR 0.8 where the paper has 0.6."""
  different = [pair for pair in zip(SUB_POLICIES, SIGNED_SUB_POLICIES) if pair[0] != pair[1]]
  assert different == [
    ((('brightness', 0.9, 6), ('color', 0.2, 6)), (('brightness', 0.9, 6), ('color', 0.2, 8))),
    ((('equalize', 0.2, 8), ('equalize', 0.6, 4)), (('equalize', 0.2, 8), ('equalize', 0.8, 4))),
  ]


@pytest.mark.parametrize(
  'op, pairs, border', [('auto_augment', SUB_POLICIES, 0), ('signed_auto_augment', SIGNED_SUB_POLICIES, 128)]
)
def test_auto_augment_draws_each_sub_policy_and_each_op_as_often_as_it_says(op, pairs, border, monkeypatch):
  monkeypatch.setattr(policies, '_one_after_another', lambda image, choice, amount, border: (choice, amount, border))
  draw = jax.jit(jax.vmap(lambda key: getattr(policies, op)(key, jnp.zeros((8, 8, 3)), Strength())))
  choice, amount, found = map(np.asarray, draw(row_keys(np.arange(20000))))
  assert (found == border).all()
  applied = choice > 0
  # of the 25 pairs, each equally likely: the mean probabilities of their first and second ops
  np.testing.assert_allclose(applied.mean(0), np.array([[op[1] for op in pair] for pair in pairs]).mean(0), atol=0.02)
  bits = 2 if border == 0 else 5
  shear = 0.21 if border == 0 else 0.7 / 3
  shear_then_posterize = np.isclose(np.abs(amount), [shear, bits]).all(1)
  assert abs(shear_then_posterize.mean() - 1 / 25) < 0.006
  assert abs(applied[shear_then_posterize].mean(0) - [0.2, 0.3]).max() < 0.06
  assert abs((amount[shear_then_posterize, 0] < 0).mean() - 0.5) < 0.06


def test_rand_augment_does_what_pil_does_in_the_order_drawn():
  """Three operations of a row, one after the other by Pillow, as USB and ProMix have them."""
  rows = np.arange(40)
  keys = jax.vmap(jax.random.fold_in, in_axes=(0, None))(row_keys(rows), 0)
  uniform = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (3, 4)))(keys))  # [N, draw, 4]
  images = photos(40, 32, 32)
  views = np.asarray(view(('rand_augment',), Strength(), rows, images))
  different = []
  for image, draws, shown in zip(images, uniform, views):
    picture = pil(image)
    for level, _, which, sign in draws:
      name = POOL[int(which * len(POOL))]
      value = amount(name, level)
      picture = PIL_OPS[name](picture, -value if name in POOL[POOL.index('rotate') :] and sign >= 0.5 else value)
    different.append((np.abs(array(picture, 3) - shown) > 8).mean())
  # Pillow rounds to integers in between, which moves values across the steps of posterize and solarize, and pixels
  # that lie between two neighbours
  assert np.mean(np.array(different) < 0.02) >= 0.9 and np.mean(different) < 0.02


# --- JPEG ------------------------------------------------------------------------------------------------------------

stored = jax.jit(jax.vmap(jpeg.compressed, in_axes=(0, None)))


def stored_by_pil(image, quality):
  file = io.BytesIO()
  pil(image).save(file, 'JPEG', quality=int(quality))
  return array(Image.open(file), image.shape[-1])


@pytest.mark.parametrize('shape', [(32, 32, 3), (37, 51, 3), (12, 10, 3), (4, 3, 3), (20, 33, 1)])
def test_jpeg_agrees_with_pil(shape):
  images = photos(6, *shape, seed=3)
  for quality in (1, 20, 49, 50, 75, 95, 100):
    ours, theirs = np.asarray(stored(images, float(quality))), np.stack([stored_by_pil(i, quality) for i in images])
    apart, changed = np.abs(ours - theirs).mean(), np.abs(images - theirs).mean()
    assert apart < 1.0 and (apart < changed / 5 or changed < 2), (quality, apart, changed)
    assert ours.min() >= 0 and ours.max() <= 255 and np.array_equal(ours, np.round(ours))


def test_jpeg_keeps_flat_images_and_halves_chroma():
  flat = np.full((1, 16, 16, 3), 93.0, np.float32)
  np.testing.assert_array_equal(stored(flat, 95.0), flat)
  stripes = np.zeros((1, 16, 16, 3), np.float32)
  stripes[:, :, ::2, 0], stripes[:, :, 1::2] = 150.0, (0.0, 76.4, 0.0)  # red and green of one luma
  assert np.ptp(stored(stripes, 100.0)[0, ..., 0], axis=1).max() < 12 < np.ptp(stripes[0, ..., 0], axis=1).min()


def test_jpeg_stores_half_of_the_rows_at_qualities_within_the_bounds():
  image = photos(1, 16, 16, seed=5)
  views = np.asarray(view(('jpeg',), Strength(quality=(60.0, 64.0)), np.arange(400), np.repeat(image, 400, axis=0)))
  lossless = (views == image).all((1, 2, 3))
  assert 160 < lossless.sum() < 240
  copies = [np.asarray(stored(image, float(quality)))[0] for quality in range(60, 65)]
  which = [[np.abs(view - copy).max() < 0.5 for copy in copies] for view in views[~lossless]]
  assert np.sum(which, 0).min() > 20 and np.sum(which, 1).min() >= 1  # each of the five, and no other


# --- mixup -----------------------------------------------------------------------------------------------------------


def test_mixup_pairs():
  pairs = jax.jit(jax.vmap(functools.partial(mixup.mixup_pairs, batch=5)))
  alphas = np.repeat(np.float32([0.3, 4.0, 0.0]), 3000)
  lam, partner = pairs(jax.random.split(jax.random.key(1), 9000), alphas)
  assert lam.shape == (9000,) and lam.dtype == jnp.float32 and partner.dtype == jnp.int32
  np.testing.assert_array_equal(np.sort(partner, axis=1), np.tile(np.arange(5), (9000, 1)))
  assert abs((np.asarray(partner)[:, 0] == 0).mean() - 0.2) < 0.02
  for alpha in (0.3, 4.0):
    drawn = np.asarray(lam)[alphas == np.float32(alpha)]
    assert abs(drawn.mean() - 0.5) < 0.03
    assert abs(drawn.var() - 1 / (4 * (2 * alpha + 1))) < 0.01  # the variance of Beta(alpha, alpha)
  np.testing.assert_array_equal(lam[alphas == 0], 1.0)  # no mixing


# --- mistakes in a config --------------------------------------------------------------------------------------------


def test_check_ops_names_the_field_and_the_nearest():
  assert ops.check_ops('data.weak', ['crop', 'flip']) == ('crop', 'flip')
  with pytest.raises(UserError, match=r"data\.weak\[1\].*'rotat'.*Did you mean 'rotate'.*cutout"):
    ops.check_ops('data.weak', ('crop', 'rotat'))
  with pytest.raises(UserError, match='tuple'):
    ops.check_ops('data.weak', 'crop')


@pytest.mark.parametrize(
  'values, message',
  [
    ({'rotaton': 3}, "Did you mean 'rotation'"),
    ({'hue': 0.7}, r'augment\.hue: expected a number from 0 to 0.5, found 0.7'),
    ({'pad': 2.5}, r'augment\.pad: expected a whole number of pixels or, below 1, a fraction.*2.5'),
    ({'draws': 2.5}, r'augment\.draws: expected a whole number.*2.5'),
    ({'scale': (0.9, 0.1)}, r'augment\.scale: expected two numbers, the smaller first'),
    ({'scale': 0.5}, r'augment\.scale'),
    ({'magnitude': 'ten'}, r"augment\.magnitude.*'ten'"),
    ({'rotation': float('nan')}, r'augment\.rotation'),
    ({'cutout': float('inf')}, r'augment\.cutout'),
    ({'quality': (95, 50)}, r'augment\.quality: expected two numbers, the smaller first'),
    ({'probability': 1.5}, r'augment\.probability: expected a number from 0 to 1, found 1.5'),
  ],
)
def test_check_strength_refuses(values, message):
  with pytest.raises(UserError, match=message):
    check_strength('augment', values)


def test_check_strength_casts_once():
  strength = check_strength('augment', {'rotation': 5, 'scale': [0.5, 1], 'pad': 3.0})
  assert type(strength.rotation) is float and strength.scale == (0.5, 1.0) and type(strength.pad) is float
  assert all(type(leaf) is float for leaf in jax.tree.leaves(strength))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize(('height', 'width'), [(24, 31), (32, 32)])
def test_what_tpus_compute_is_what_others_compute(name, height, width, monkeypatch):
  images, keys = photos(8, height, width), row_keys(range(8))
  run = lambda: np.asarray(ops.augment((name,), Strength(), keys, images))
  others = run()
  monkeypatch.setattr(jax.lax, 'platform_dependent', lambda *args, tpu, default: tpu(*args))
  monkeypatch.setattr(geometry, 'ROOM', 31 * 31 * 3 * 7)  # a part of the lines at a time
  np.testing.assert_allclose(run(), others, atol=2e-3)


def test_tpus_look_nothing_up_pixel_by_pixel():
  shape = jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)
  turn = geometry.rotation(jnp.float32(20.0), 32, 32)
  line = jnp.linspace(3.0, 20.0, 32)
  found = {
    'equalize': color.equalize,
    'move': lambda image: geometry.move(image, turn, 0.0),
    'warp': lambda image: geometry.warp(image, turn),
    'box': lambda image: geometry.sample(image, line[:, None], line[None]),
  }
  for name, op in found.items():
    for platform, there in (('tpu', False), ('cuda', True), ('cpu', True)):
      text = jax.export.export(jax.jit(jax.vmap(op)), platforms=[platform])(shape).mlir_module()
      assert ('stablehlo.gather' in text or 'stablehlo.scatter' in text) == there, (name, platform)
