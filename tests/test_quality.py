"""Image issues that do not depend on the label, planted one kind at a time."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from noisyjax.analysis import quality


def scene(width: int = 90, height: int = 80) -> np.ndarray:
  """Returns an image with edges and all of the range: uint8 [H, W, 3]."""
  random = np.random.default_rng(0)
  blocks = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8))
  return np.asarray(blocks.resize((width, height), Image.Resampling.NEAREST))


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
  return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


PLANTED = {
  'dark': scene() // 4,
  'bright': 255 - scene() // 24,
  'flat': np.full((80, 90, 3), 128, np.uint8),
  'blurry': blurred(scene(), 6),
  'odd size': scene(900, 800),
  'odd ratio': scene(300, 80),
}


@pytest.mark.parametrize('kind', PLANTED)
def test_the_planted_kind_is_found_and_no_ordinary_image(kind):
  rows = [scene(90 + i, 80) for i in range(8)] + [PLANTED[kind]]
  found = quality.judge(np.stack([quality.measure(image) for image in rows]))
  assert [*found, 'copies differ'] == list(quality.ISSUES)
  assert found[kind].tolist() == [False] * 8 + [True]
  others = {name for name, flags in found.items() if flags.any()} - {kind}
  assert others <= {'flat'} if kind == 'bright' else not others


def test_a_large_photo_is_judged_at_the_scale_of_a_small_one():
  """The same scene at ten times the side has as sharp edges as before, and as blurred ones."""
  sharp = [quality.measure(scene(90 * k, 80 * k))[-1] for k in (1, 10)]
  soft = [quality.measure(blurred(scene(90 * k, 80 * k), 6 * k))[-1] for k in (1, 10)]
  assert min(sharp) > quality.BLURRY > max(soft)


def test_tiny_images_and_no_images():
  assert np.isfinite(quality.measure(np.zeros((1, 1, 3), np.uint8))).all()
  assert all(flags.shape == (0,) for flags in quality.judge(np.zeros((0, 5), np.float32)).values())
