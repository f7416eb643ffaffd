"""Conversion of pixels: unambiguous values are accepted, ambiguous ones are refused with advice."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noisyjax.data import decode, pixels
from noisyjax.system.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
IMAGES[0, 0, 0] = 0, 255, 128


def test_uint8_is_taken_as_it_is():
  got, notes = pixels.normalised(IMAGES)
  assert got is IMAGES and not notes


@pytest.mark.parametrize('dtype', ['i2', 'u2', 'i4', 'u4', 'i8', 'u8', '>i8', 'f2', 'f4', 'f8', '>f4'])
def test_whole_numbers_of_any_type_are_the_same_pixels(dtype):
  got, notes = pixels.normalised(IMAGES.astype(dtype))
  np.testing.assert_array_equal(got, IMAGES)
  assert got.dtype == np.uint8 and not notes
  np.testing.assert_array_equal(pixels.normalised((IMAGES // 2).astype('i1'))[0], IMAGES // 2)


def test_bool_spans_the_whole_range():
  got, notes = pixels.normalised(IMAGES > 100)
  np.testing.assert_array_equal(got, np.where(IMAGES > 100, 255, 0))
  assert notes == ('images: bool; True is taken as 255.',)


@pytest.mark.parametrize('bits', [12, 16])
def test_twelve_and_sixteen_bits_are_scaled_with_a_note(bits):
  wide = np.linspace(0, 2**bits - 1, 5 * 6 * 7).astype(np.uint16).reshape(5, 6, 7)
  got, notes = pixels.normalised(wide, 'scan.npz: images')
  np.testing.assert_array_equal(got[..., 0], np.rint(wide / (2**bits - 1) * 255))
  assert len(notes) == 1 and notes[0].startswith(f'scan.npz: images: uint16 up to {2**bits - 1} is read as {bits} bits')


def test_gray_and_channels_first_become_channels_last():
  assert pixels.normalised(IMAGES[..., 0])[0].shape == (5, 6, 7, 1)
  got, notes = pixels.normalised(IMAGES.transpose(0, 3, 1, 2))
  np.testing.assert_array_equal(got, IMAGES)
  assert notes == ('images: the shape (5, 3, 6, 7) has channels first; read with channels last, (5, 6, 7, 3).',)
  assert pixels.normalised(IMAGES[:, None, ..., 0])[0].shape == (5, 6, 7, 1)
  np.testing.assert_array_equal(pixels.normalised(IMAGES[:, :3])[0], IMAGES[:, :3])  # 3 x 7 images, channels last


def test_rgba_lies_on_white_as_in_a_file():
  rgba = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 4), np.uint8)
  got, notes = pixels.normalised(rgba)
  for image, want in zip(got, rgba):
    buffer = io.BytesIO()
    Image.fromarray(want).save(buffer, 'png')
    np.testing.assert_allclose(image.astype(int), decode.decode(buffer.getvalue()), atol=1)
  assert 'RGBA' in notes[0]
  np.testing.assert_array_equal(pixels.normalised(rgba.transpose(0, 3, 1, 2))[0], got)


def test_lists_and_arrays_of_arrays():
  np.testing.assert_array_equal(pixels.normalised(list(IMAGES))[0], IMAGES)
  objects = np.empty(5, object)
  objects[:] = list(IMAGES)
  np.testing.assert_array_equal(pixels.normalised(objects)[0], IMAGES)


def test_floats_are_rounded_with_a_note():
  got, notes = pixels.normalised(IMAGES[:, :, :, 0] * 0.5)
  np.testing.assert_array_equal(got[..., 0], np.rint(IMAGES[..., 0] * 0.5))
  assert notes == ('images: floats were rounded to whole numbers.',)
  assert pixels.normalised(np.full((1, 2, 2), 255.3))[0].max() == 255  # a resize's overshoot


@pytest.mark.parametrize('images', [np.zeros((2, 4, 4), 'u1'), IMAGES[..., 0] // 16, np.full((2, 4, 4), 200.0)])
def test_pixels_of_a_few_per_cent_of_the_range_are_noted(images):
  (note,) = pixels.normalised(images)[1]
  assert f'all pixels lie in {int(images.min())}..{int(images.max())}, ' in note


def bent(value, dtype=np.float64):
  out = IMAGES.astype(dtype)
  out[3, 2, 1, 0] = value
  return out


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (IMAGES / 255, r'floats in \[0, 1\]: they seem to be divided by 255; .* \(images \* 255\)'),
    (bent(np.nan), r'row 3 \(from 0\) is not finite'),
    (bent(np.inf, np.float32), r'row 3 \(from 0\) is not finite'),
    (bent(-1), r'found values in \[-1, 255\], expected 0 to 255 \(the first is of row 3 \(from 0\)\)'),
    (bent(300, np.int64), r'found values in \[0, 300\].*row 3 .*images\.astype\(np\.uint16\)'),
    (IMAGES * 2.0, r'found values in \[0, 510\], expected 0 to 255'),
    (IMAGES / 127.5 - 1, r'If they were scaled to -1\.\.1: images \* 127\.5 \+ 127\.5'),
    ((IMAGES - 120.0) / 60, 'If a mean was subtracted, pass the images as they were'),
    (IMAGES.astype(complex), 'have type complex128; expected numbers'),
    (np.array(['a.png', 'b.png']), r'found shape \(2,\); expected \[N, H, W, C\]'),
    (np.zeros((4, 784), np.uint8), r'may be images\.reshape\(-1, 28, 28, 1\)'),
    (np.zeros((4, 3072), np.uint8), r'may be images\.reshape\(-1, 32, 32, 3\)'),
    (IMAGES[0], r'found shape \(6, 7, 3\); .* One image is images\[None\]'),
    (np.zeros((2, 3, 4, 4), np.uint8), 'expected 1 or 3 channels'),  # RGBA, or 3 channels first?
    (np.zeros((2, 5, 5, 2), np.uint8), r'found shape \(2, 5, 5, 2\); expected 1 or 3 channels'),
    (np.zeros((2, 2, 5, 5, 3), np.uint8), r'found shape \(2, 2, 5, 5, 3\)'),
    (np.zeros((0, 5, 5, 3), np.uint8), 'there are no pixels'),
    ([IMAGES[0], IMAGES[0, :4]], 'of different shapes'),
    (np.array([None] * 3), r'found shape \(3,\)'),
  ],
)
def test_what_has_no_one_reading_is_refused(images, message):
  with pytest.raises(UserError, match=message) as caught:
    pixels.normalised(images, 'd.npz: images')
  assert str(caught.value).startswith('d.npz: images: ')


# Images of many sizes and kinds.


def test_of_a_mixture_of_types_each_image_keeps_its_own_range():
  eight, ones = IMAGES[0], IMAGES[1] > 127
  twelve = IMAGES[2].astype(np.uint16) * 16
  got, notes = pixels.gathered([eight, twelve, ones], 0, 'exact')
  np.testing.assert_array_equal(got[0], eight)
  np.testing.assert_allclose(got[1], IMAGES[2], atol=1)
  np.testing.assert_array_equal(got[2], ones * np.uint8(255))
  assert len(notes) == 2 and 'bool' in notes[0] and '12 bits' in notes[1]
  with pytest.raises(UserError, match='they seem to be divided by 255'):
    pixels.gathered([eight, eight / 255], 0, 'exact')


def encoded(image: np.ndarray, kind: str = 'png', **options) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, kind, **options)
  return buffer.getvalue()


def test_paths_pillow_images_arrays_and_bytes_are_one_thing(tmp_path):
  image = np.random.default_rng(2).integers(0, 256, (12, 20, 3), np.uint8)
  path = tmp_path / 'a.png'
  path.write_bytes(encoded(image))
  turned = Image.fromarray(np.rot90(image))
  turned.getexif()[274] = 6
  items = [
    path,
    str(path),
    Image.open(path),
    image,
    image.astype(float),
    image.transpose(2, 0, 1).tolist(),
    encoded(image),
    {'bytes': encoded(image), 'path': None},
    {'bytes': None, 'path': str(path)},
    turned,
  ]
  got, notes = pixels.gathered(items, 8, 'crop')
  assert (got.shape, got.dtype) == ((10, 8, 8, 3), np.uint8)
  np.testing.assert_array_equal(got, np.broadcast_to(decode.fit_image(image, 8, 'crop'), got.shape))
  assert notes == ('images: 1 arrays have channels first; read with channels last.',)
  assert turned.size == (12, 20)  # what was passed is left as it is


def test_many_sizes_and_gray():
  arrays = [np.random.default_rng(i).integers(0, 256, (5 + i, 9, 3), np.uint8) for i in range(3)]
  got, _ = pixels.gathered([*arrays, arrays[0][..., 0]], 6, 'pad', 1)
  assert got.shape == (4, 6, 6, 1)
  assert not got[0, 0].any() and got[0, 3].any()  # black above, the image in the middle
  assert pixels.gathered([arrays[0]] * 2, 0, 'exact')[0].shape == (2, 5, 9, 3)
  with pytest.raises(UserError, match=r'1 of 3 images are not 9x5.*\n  row 2 \(from 0\): 9x6'):
    pixels.gathered([arrays[0], arrays[0], arrays[1]], 0, 'exact')


def test_values_are_decided_over_all_arrays_together():
  """A dark image among others of 16 bits is dark, and not one of 12 bits."""
  dark, bright = np.full((3, 3), 4000, np.uint16), np.full((4, 4), 65535, np.uint16)
  got, notes = pixels.gathered([dark, bright], 3, 'crop')
  assert [int(g.max()) for g in got] == [16, 255] and 'as 16 bits' in notes[0]
  with pytest.raises(UserError, match='divided by 255'):
    pixels.gathered([np.full((3, 3), 0.5), np.full((4, 4), 0.25)], 3, 'crop')
  with pytest.raises(UserError, match=r'row 2 \(from 0\) is not finite'):
    pixels.gathered([encoded(IMAGES[0]), np.ones((3, 3)), np.full((4, 4), np.nan)], 3, 'crop')


def test_items_that_are_no_images_are_named(tmp_path):
  (tmp_path / 'a.png').write_bytes(b'no image')
  with pytest.raises(
    UserError, match=r'photos: 2 cannot be read: .*a\.png: no image that.*absent\.png: .*No such file'
  ):
    pixels.gathered([tmp_path / 'a.png', tmp_path / 'absent.png', IMAGES[0]], 4, 'crop', where='photos')
  with pytest.raises(UserError, match=r'images: row 1 \(from 0\): found shape \(2,\); expected an image'):
    pixels.gathered([IMAGES[0], np.zeros(2)], 4, 'crop')
  with pytest.raises(UserError, match='images: there are none; expected at least one'):
    pixels.gathered([], 4, 'crop')
  with pytest.raises(UserError, match='None of the images can be read'):
    pixels.gathered([Path('nowhere.png')], 4, 'crop')
