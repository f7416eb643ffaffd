"""Decoding of images: orientation, color modes, resizing without distortion, damaged files."""

import io

import numpy as np
import pytest
from PIL import Image

from noisyjax.data import decode
from noisyjax.system.errors import UserError


def encode(image: Image.Image, kind: str = 'png', **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def quadrants() -> np.ndarray:
  """An 8 x 16 picture with a colour in each corner, so that every turn and mirror shows."""
  image = np.zeros((8, 16, 3), np.uint8)
  image[:4, :8], image[:4, 8:], image[4:, :8], image[4:, 8:] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
  return image


# What a viewer does for each EXIF orientation (CIPA DC-008, tag 274).
UPRIGHT = {
  1: lambda a: a,
  2: lambda a: a[:, ::-1],
  3: lambda a: a[::-1, ::-1],
  4: lambda a: a[::-1],
  5: lambda a: a.transpose(1, 0, 2),
  6: lambda a: np.rot90(a, -1),
  7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
  8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['png', 'tiff'])
def test_exif_orientation_is_applied(orientation, kind):
  exif = Image.Exif()
  exif[274] = orientation
  stored = Image.fromarray(quadrants())
  got = decode.decode(encode(stored, kind, exif=exif))
  np.testing.assert_array_equal(got, UPRIGHT[orientation](quadrants()))


def test_every_mode_becomes_rgb():
  rgb = np.zeros((4, 6, 3), np.uint8) + np.array([10, 200, 90], np.uint8)
  image = Image.fromarray(rgb)
  np.testing.assert_array_equal(decode.decode(encode(image)), rgb)
  np.testing.assert_array_equal(decode.decode(encode(image.quantize(4))), rgb)
  gray = Image.fromarray(rgb[..., 1])
  np.testing.assert_array_equal(decode.decode(encode(gray)), np.full((4, 6, 3), 200))
  cmyk = decode.decode(encode(image.convert('CMYK'), 'tiff'))
  np.testing.assert_allclose(cmyk.astype(int), rgb, atol=2)


def test_sixteen_bits_are_scaled_not_clipped():
  values = np.array([[0, 257, 25700, 65535]], np.uint16)
  got = decode.decode(encode(Image.fromarray(values)))
  np.testing.assert_array_equal(got[..., 0], [[0, 1, 100, 255]])


def test_transparency_lies_on_white():
  """A fully transparent pixel hides whatever colour is stored under it."""
  rgba = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 255, 0]]], np.uint8)
  got = decode.decode(encode(Image.fromarray(rgba)))
  np.testing.assert_array_equal(got, [[[255, 0, 0], [255, 255, 255], [255, 255, 255]]])
  palette = Image.fromarray(np.array([[0, 1]], np.uint8))
  palette.putpalette([9, 8, 7, 1, 2, 3])
  got = decode.decode(encode(palette, transparency=1))
  np.testing.assert_array_equal(got, [[[9, 8, 7], [255, 255, 255]]])


def test_crop_and_pad_keep_the_aspect():
  """A centred disc stays as high as it is wide, at the scale of the shorter (crop) or longer (pad) side."""
  y, x = np.mgrid[:40, :80]
  disc = np.where((x - 39.5) ** 2 + (y - 19.5) ** 2 < 15**2, 255, 0).astype(np.uint8)[..., None]
  for fit, diameter in (('crop', 15), ('pad', 7.5)):
    got = decode.fit_image(disc, 20, fit)
    assert got.shape == (20, 20, 1)
    rows, columns = np.nonzero(got[..., 0] > 127)
    assert abs(np.ptp(rows) + 1 - diameter) <= 1.5
    assert np.ptp(rows) == np.ptp(columns)


def test_crop_takes_the_centre_and_pad_adds_black():
  wide = np.zeros((2, 6, 3), np.uint8) + np.arange(6, dtype=np.uint8)[:, None] * 10 + 5
  np.testing.assert_array_equal(decode.fit_image(wide, 2, 'crop'), wide[:, 2:4])
  padded = decode.fit_image(wide, 6, 'pad')
  np.testing.assert_array_equal(padded[2:4], wide)
  assert not padded[:2].any()
  assert not padded[4:].any()
  tall = decode.fit_image(wide.transpose(1, 0, 2), 6, 'pad')
  np.testing.assert_array_equal(tall, padded.transpose(1, 0, 2))


@pytest.mark.parametrize('fit', decode.FITS)
def test_an_image_of_the_right_size_is_untouched(fit):
  image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
  assert decode.fit_image(image, 9, fit) is image


@pytest.mark.parametrize('shape', [(1, 50), (50, 1), (3, 7), (100, 33)])
@pytest.mark.parametrize('fit', ['crop', 'pad'])
def test_any_shape_fits(shape, fit):
  assert decode.fit_image(np.full((*shape, 3), 7, np.uint8), 8, fit).shape == (8, 8, 3)


def test_exact_lists_the_images_of_another_size():
  images = [np.zeros((4, 5, 3), np.uint8)] * 3 + [np.zeros((6, 7, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)]
  with pytest.raises(UserError, match=r'(?s)2 of 5 images are not 5x4.*\n  d: 7x6\n  e: 9x8'):
    decode.stack(images, list('abcde'), 0)
  with pytest.raises(UserError, match=r'5 of 5 images are not 3x3, which data.size=3'):
    decode.stack(images, list('abcde'), 3)
  assert decode.stack(images[:3], list('abc'), 0).shape == (3, 4, 5, 3)


def test_unknown_fit_names_the_nearest():
  with pytest.raises(UserError, match=r"data.fit: unknown value 'cropp'. Did you mean 'crop'"):
    decode.fit_images(np.zeros((1, 4, 4, 3), np.uint8), 4, 'cropp', ['a'])


def test_digest_is_of_pixels_and_shape():
  """Golden value: ids must not change from version to version, label tables refer to them."""
  image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
  assert decode.digest(image) == 'bdbad8a0754af78aea1e3579838bc6165f6e32ce3b90011e7660c5db57dfcca1'
  assert decode.digest(image) != decode.digest(image.reshape(1, 4, 3))
  assert decode.digest(image) == decode.digest(np.asfortranarray(image))


def test_damage_is_reported_for_every_file_and_stops_none():
  noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
  png, jpeg = encode(Image.fromarray(noise)), encode(Image.fromarray(noise), 'jpeg')
  flipped = bytearray(png)
  flipped[len(png) // 2] ^= 255
  data = [png, png[:-200], jpeg[: len(jpeg) // 2], bytes(flipped), b'', b'<html>not found</html>', jpeg]
  names = ['good.png', 'cut.png', 'cut.jpg', 'flipped.png', 'empty.png', 'page.png', 'good.jpg']
  got = decode.decode_all(names, data.__getitem__)
  assert got.good.tolist() == [0, 6]
  np.testing.assert_array_equal(got.images[0], noise)
  assert [line.split(':')[0] for line in got.bad] == names[1:6]
  assert 'truncated' in got.bad[0]
  assert '0x' not in ''.join(got.bad)  # no addresses in messages


def test_no_readable_image_at_all():
  with pytest.raises(UserError, match=r'(?s)None of the images can be read.*a.png'):
    decode.decode_all(['a.png'], lambda i: b'nothing')


def test_digest_is_taken_before_the_resize():
  image = np.random.default_rng(1).integers(0, 256, (10, 20, 3), np.uint8)
  got = decode.decode_all(['a'], lambda i: encode(Image.fromarray(image)), 8, 'crop')
  assert got.images.shape == (1, 8, 8, 3)
  assert got.digests[0] == decode.digest(image)


def test_gray_images_keep_their_id():
  """`data.channels` may change between runs; what a label table says about a sample must still find it."""
  rng = np.random.default_rng(2)
  files = [encode(Image.fromarray(rng.integers(0, 256, shape, np.uint8))) for shape in ((5, 5, 3), (5, 5))]
  colour, gray = (decode.decode_all(['a', 'b'], files.__getitem__, channels=c) for c in (3, 1))
  assert colour.images.shape == (2, 5, 5, 3)
  assert gray.images.shape == (2, 5, 5, 1)
  assert colour.digests.tolist() == gray.digests.tolist()
  np.testing.assert_array_equal(gray.images[1], colour.images[1, ..., :1])
  assert decode.digest(gray.images[1]) == gray.digests[1]


def test_pixels_of_a_few_per_cent_of_the_range_are_noted():
  """Masks of 0 and 1, and 12 bits stored in 16."""
  mask = encode(Image.fromarray(np.eye(6, dtype=np.uint8)))
  (note,) = decode.decode_all(['a'], [mask].__getitem__).notes
  assert note.startswith('images: all pixels lie in 0..1, 0% of the range 0..255.')
  deep = encode(Image.fromarray(np.linspace(0, 4095, 36).astype(np.uint16).reshape(6, 6)))
  (note,) = decode.decode_all(['a'], [deep].__getitem__).notes
  assert 'lie in 0..16, 6% of the range' in note and '12 bits' in note
  assert not decode.decode_all(['a', 'b'], [mask, encode(Image.fromarray(quadrants()[:6, :6]))].__getitem__).notes


@pytest.mark.parametrize('turn', [lambda a: a, lambda a: a.transpose(1, 0, 2)])
def test_a_very_long_image_is_cropped_without_resizing_all_of_it(turn, monkeypatch):
  image = np.zeros((2, 20_000, 3), np.uint8)
  image[:, 9_900:10_100] = 200
  largest, resize = [], Image.Image.resize

  def measured(self, size, *rest):
    largest.append(max(size))
    return resize(self, size, *rest)

  monkeypatch.setattr(Image.Image, 'resize', measured)
  assert (decode.fit_image(turn(image), 8, 'crop') == 200).all()
  assert max(largest) <= 8 * decode.LONGEST
  assert decode.fit_image(turn(image), 8, 'pad').shape == (8, 8, 3)


@pytest.mark.parametrize('values', [(0, 70_000), (-1, 5)])
def test_integers_of_an_unknown_range_are_refused_and_not_cut(values):
  with pytest.raises(ValueError, match='have no agreed range'):
    decode.decode(encode(Image.fromarray(np.array([values], np.int32)), 'tiff'))
