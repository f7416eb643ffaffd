"""What is odd about an image whatever its label: dark, bright, flat, blurry, or of another size or shape than the rest.

The measures follow CleanVision (github.com/cleanlab/cleanvision, `issue_managers/image_property.py`): brightness, the
variance of edges, the ratio of the sides. Departures: everything but the size is measured on a copy of
at most `SIDE` pixels a side, so that a large photo costs no more than a small one and blur is judged at the scale at
which a network sees the image; size is compared with the median on a logarithmic scale.
"""

import concurrent.futures
import os
from collections.abc import Mapping

import numpy as np
from PIL import Image
from tqdm import tqdm

from noisyjax.data import decode
from noisyjax.data.dataset import Dataset, conflicting_duplicates
from noisyjax.data.thumbnail import originals

SIDE = 128  # pixels
BLURRY = 50  # of photos at 96 px 118 and more were seen; after a Gaussian blur of 2 px, 35 and less

FACTS = ('width', 'height', 'darkest', 'brightest', 'edges')

# What each flag means, for reports.
ISSUES: Mapping[str, str] = {
  'dark': 'hardly any pixel is brighter than a third of the range',
  'bright': 'hardly any pixel is darker than 95 % of the range',
  'flat': 'all pixels are about equally bright',
  'blurry': 'no sharp edges',
  'odd size': 'its side is more than three times the median side, or less than a third of it',
  'odd ratio': 'one side is about three times the other, or more',
  'copies differ': 'exact copies of it have other labels',
}


def issues(data: Dataset) -> dict[str, np.ndarray]:
  """Judges every image of a data set, by its file where that is at hand, else by the pixels that are trained on.

  Returns:
    name of `ISSUES` → bool [N].
  """
  copies = np.zeros(len(data.ids), bool)
  for group in conflicting_duplicates(data):
    copies[list(group.rows)] = True
  rows = range(len(data.ids))
  with originals(data) as read, decode.quiet(), concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = pool.map(lambda row: measure(read(row)), rows)
    facts = list(tqdm(found, 'look', len(rows), unit=' images', disable=None, delay=1))
  return judge(np.array(facts, np.float32)) | {'copies differ': copies}


def measure(image: np.ndarray) -> np.ndarray:
  """Measures one image.

  Args:
    image: uint8 [H, W, C] as decoded, before it is fitted to another size; C = 1 or 3.

  Returns:
    float32 [5]: width and height in pixels; 1st and 99th percentile of the brightness, 0 to 1; variance of the
    Laplacian of the gray image (values 0-255).
  """
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert('L')
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
    facts: float32 [N, 5], of `measure`.

  Returns:
    name of `ISSUES` but 'copies differ' → bool [N].
  """
  width, height, darkest, brightest, edges = np.asarray(facts, np.float64).reshape(-1, len(FACTS)).T
  side = np.sqrt(width * height)
  usual = np.median(side) if len(side) else 1.0
  flat = brightest - darkest < 0.08
  return {
    'dark': brightest < 0.32,
    'bright': darkest > 0.95,
    'flat': flat,
    'blurry': (edges < BLURRY) & ~flat,  # a flat image has no edges to be sharp
    'odd size': np.abs(np.log(side / usual)) > np.log(3),
    'odd ratio': np.minimum(width / height, height / width) < 0.35,
  }
