"""Detects images that are odd independent of their label: dark, bright, flat, blurry, or of an unusual size or shape.

The measures follow CleanVision (github.com/cleanlab/cleanvision, `issue_managers/image_property.py`): brightness,
variance of the edges, aspect ratio. Departures: all measures but the size use a copy of at most `SIDE` pixels per side,
so that large photos are as fast as small ones and blur is judged at the scale at which networks see the images. The
size is compared with the median on a logarithmic scale.
"""

from collections.abc import Mapping

import numpy as np
from PIL import Image
from tqdm import tqdm

from noisyjax.data import decode
from noisyjax.data.dataset import Dataset, conflicting_duplicates
from noisyjax.data.thumbnail import originals
from noisyjax.system import threads

SIDE = 128  # pixels
BLURRY = 50  # measured on photos of 96 px: at least 118; at most 35 after a Gaussian blur of 2 px

FACTS = ('width', 'height', 'darkest', 'brightest', 'edges')

# The meaning of each flag, as reports show it.
ISSUES: Mapping[str, str] = {
  'dark': 'almost no pixel is brighter than a third of the range',
  'bright': 'almost no pixel is darker than 95 % of the range',
  'flat': 'all pixels have about the same brightness',
  'blurry': 'no sharp edges',
  'odd size': 'the side is more than three times the median side, or less than a third of it',
  'odd ratio': 'one side is about three times the other, or more',
  'copies differ': 'exact copies of the image have other labels',
}


def issues(data: Dataset) -> dict[str, np.ndarray]:
  """Judges every image of a data set, by its file if it is available, otherwise by the pixels used for training.

  Returns:
    Name of an issue, a key of `ISSUES` → bool [N].
  """
  copies = np.zeros(len(data.ids), bool)
  for group in conflicting_duplicates(data):
    copies[list(group.rows)] = True
  count = len(data.ids)
  with originals(data) as read, decode.quiet():
    found = threads.ahead(lambda row: measure(read(row)), range(count))
    bar = tqdm(found, 'look', count, unit=' images', disable=None, delay=1)
    facts = np.fromiter(bar, np.dtype((np.float32, len(FACTS))), count)
  return judge(facts) | {'copies differ': copies}


def measure(image: np.ndarray) -> np.ndarray:
  """Measures one image.

  Args:
    image: decoded image at its original size, uint8 [H, W, C] with C = 1 or 3.

  Returns:
    float32 [5]: width and height in pixels; 1st and 99th percentile of the brightness in 0–1; variance of the Laplacian
    of the gray image (values in 0–255).
  """
  picture = decode.picture(image).convert('L')
  picture.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
  share = np.cumsum(picture.histogram()) / (picture.width * picture.height)  # [256]
  darkest, brightest = np.searchsorted(share, (0.01, 0.99)) / 255
  gray = np.pad(np.asarray(picture, np.int32), 1, mode='edge')
  edges = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
  height, width = image.shape[:2]
  return np.array([width, height, darkest, brightest, edges.var()], np.float32)


def judge(facts: np.ndarray) -> dict[str, np.ndarray]:
  """Flags images by fixed thresholds.

  Args:
    facts: measurements of `measure`, float32 [N, 5].

  Returns:
    Name of an issue, a key of `ISSUES` except 'copies differ' → bool [N].
  """
  width, height, darkest, brightest, edges = np.asarray(facts, np.float64).reshape(-1, len(FACTS)).T
  side = np.sqrt(width * height)
  usual = np.median(side) if len(side) else 1.0
  flat = brightest - darkest < 0.08
  return {
    'dark': brightest < 0.32,
    'bright': darkest > 0.95,
    'flat': flat,
    'blurry': (edges < BLURRY) & ~flat,  # a flat image has no edges
    'odd size': np.abs(np.log(side / usual)) > np.log(3),
    'odd ratio': np.minimum(width / height, height / width) < 0.35,
  }
