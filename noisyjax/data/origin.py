"""Where images come from: file formats, sizes and colour, and how those of one set differ from another's.

A network that learned from lossless images is weaker on compressed ones, and one that learned from photos is weaker on
thumbnails: what a run was trained on is written beside its weights, and `predict` says what differs.
"""

import contextlib
import dataclasses
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisyjax.data import decode, files
from noisyjax.system import reading
from noisyjax.system.log import log

PEEK = 100  # images looked at, evenly spaced
LARGEST = 64  # pixels: images are fitted to no larger a square, unless data.size says so
HEAD = 2**18  # bytes that hold the head of an image file
LOSSY = ('JPEG', 'MPO', 'WEBP', 'AVIF', 'HEIF')
GRAY = ('1', 'L', 'LA', 'I', 'I;16', 'F')


@dataclasses.dataclass(frozen=True)
class Origin:
  """What images were before they were decoded and fitted.

  Attributes:
    formats: file format as Pillow calls it, or 'arrays' → share. sides: the smallest, median and largest short side in
      pixels. gray: share of gray images.
  """

  formats: dict[str, float]
  sides: tuple[int, int, int]
  gray: float


def of(items: Iterable[Any]) -> Origin | None:
  """Returns the origin of images; None of none, or where none can be read.

  Args:
    items: paths, encoded bytes, PIL images, or arrays [H, W, C] or [H, W].
  """
  formats, sides, gray = Counter(), [], []
  with decode.quiet():
    for item in items:
      with contextlib.suppress(Exception):  # whoever decodes a bad image names it
        form, size, is_gray = _look(item)
        formats[form] += 1
        sides.append(min(size))
        gray.append(is_gray)
  if not sides:
    return None
  shares = {name: n / len(sides) for name, n in formats.most_common()}
  return Origin(shares, (min(sides), int(np.median(sides)), max(sides)), float(np.mean(gray)))


def _look(item: Any) -> tuple[str, tuple[int, int], bool]:
  """Returns format, size and whether gray, from an image's head."""
  if isinstance(item, dict):  # as Hugging Face's datasets stores one
    item = item.get('path') if item.get('bytes') is None else item['bytes']
  if isinstance(item, str | Path | bytes):
    with Image.open(io.BytesIO(item) if isinstance(item, bytes) else reading.file_of(item)) as image:
      return _look(image)
  if isinstance(item, Image.Image):
    return item.format or 'arrays', item.size, item.mode in GRAY
  item = np.asarray(item)
  return 'arrays', item.shape[:2], item.ndim == 2 or item.shape[-1] == 1


def of_files(found: files.ImageFiles, names: Sequence[str]) -> Origin | None:
  """Returns the origin of some files of a folder or zip: the heads of at most PEEK of them are looked at."""
  contents = []
  for name in some(names):
    with contextlib.suppress(Exception):
      contents.append(found.read(name)[:HEAD])
  return of(contents)


def usual_side(found: files.ImageFiles, fit: str) -> int:
  """Returns the side that files are fitted to where no size is asked for: their median short side, at most LARGEST.

  With fit `exact` it is 0: all are expected to have one size.
  """
  if fit == 'exact':
    return 0
  seen = of_files(found, found.names)
  side = min(LARGEST, seen.sides[1]) if seen else LARGEST
  log.info('data.size: images are fitted to %dx%d (fit %s).', side, side, fit)
  return side


def of_rows(root: str, names: np.ndarray, rows: np.ndarray, images: np.ndarray) -> Origin | None:
  """Returns the origin of the rows of a data set: of its files, or of its pixels where it has none.

  Args:
    root: folder or zip that the names lie in, or ''. names: [N]. rows: those to look at. images: uint8 [N, H, W, C].
  """
  if not root:
    return of(images[some(rows)])
  with files.open_images(root) as found:
    return of_files(found, names[rows].tolist())


def some(values: Sequence | np.ndarray) -> Any:
  """Returns at most PEEK of the values, evenly spaced."""
  step = -(-len(values) // PEEK) or 1
  return values[::step]


def differences(trained: Origin | None, asked: Origin | None) -> str:
  """Returns one line about what differs enough to cost accuracy; '' where nothing does or one of them is not known.

  Args:
    trained: of the training images. asked: of those to predict.
  """
  if trained is None or asked is None:
    return ''
  found = []
  lossy = [sum(share for name, share in o.formats.items() if name in LOSSY) for o in (trained, asked)]
  if abs(lossy[0] - lossy[1]) > 0.25 and 'arrays' not in asked.formats:
    found.append(f'{_formats(asked)} (trained on {_formats(trained)})')
  if not trained.sides[0] <= asked.sides[1] <= trained.sides[2]:
    found.append(f'{_sides(asked)} pixels a side (trained on {_sides(trained)})')
  if abs(trained.gray - asked.gray) > 0.5:
    found.append('gray (trained on colour)' if asked.gray > trained.gray else 'in colour (trained on gray)')
  return f'differ from those trained on: {"; ".join(found)}. Expect a lower accuracy.' if found else ''


def _formats(origin: Origin) -> str:
  return ', '.join(name if share == 1 else f'{share:.0%} {name}' for name, share in origin.formats.items())


def _sides(origin: Origin) -> str:
  low, _, high = origin.sides
  return f'{low}' if low == high else f'{low} to {high}'
