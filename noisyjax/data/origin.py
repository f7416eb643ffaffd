"""The origin of images: file formats, sizes and color, and the differences between two sets of images.

A network trained on lossless images is less accurate on compressed images, and one trained on photos is less accurate
on thumbnails. Therefore a run stores the origin of its training images with its weights, and `predict` reports
differences.
"""

import contextlib
import dataclasses
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisyjax.data import decode, files, packed
from noisyjax.data.dataset import Dataset
from noisyjax.data.images import as_images
from noisyjax.system import reading
from noisyjax.system.log import log

PEEK = 100  # maximum number of images that are examined, evenly spaced
LARGEST = 64  # maximum side in pixels that images are fitted to, unless data.size is set
HEAD = 2**18  # bytes read of an image file, enough for its header
LOSSY = ('JPEG', 'MPO', 'WEBP', 'AVIF', 'HEIF')


@dataclasses.dataclass(frozen=True)
class Origin:
  """Properties of images before they were decoded and resized.

  Attributes:
    formats: share of each file format, under Pillow's name or 'arrays'.
    sides: the smallest, median and largest short side in pixels.
    gray: share of gray images.
  """

  formats: dict[str, float]
  sides: tuple[int, int, int]
  gray: float


def of(items: Iterable[Any]) -> Origin | None:
  """Returns the origin of images; None if there are none or none can be read.

  Args:
    items: paths, encoded bytes, PIL images, or arrays [H, W, C] or [H, W].
  """
  formats, sides, gray = Counter(), [], []
  with decode.quiet():
    for item in items:
      with contextlib.suppress(Exception):  # decoding reports unreadable images
        form, size, is_gray = _look(item)
        formats[form] += 1
        sides.append(min(size))
        gray.append(is_gray)
  if not sides:
    return None
  shares = {name: n / len(sides) for name, n in formats.most_common()}
  return Origin(shares, (min(sides), int(np.median(sides)), max(sides)), float(np.mean(gray)))


def _look(item: Any) -> tuple[str, tuple[int, int], bool]:
  """Returns the format and size of an image and whether it is gray, from its header."""
  if isinstance(item, dict):  # an image of Hugging Face's datasets
    item = item.get('path') if item.get('bytes') is None else item['bytes']
  if isinstance(item, str | Path | bytes):
    with Image.open(io.BytesIO(item) if isinstance(item, bytes) else reading.file_of(item)) as image:
      return _look(image)
  if isinstance(item, Image.Image):
    return item.format or 'arrays', item.size, item.mode in decode.GRAY
  item = np.asarray(item)
  return 'arrays', item.shape[:2], item.ndim == 2 or item.shape[-1] == 1


def of_files(found: files.ImageFiles, names: Sequence[str]) -> Origin | None:
  """Returns the origin of files in a folder or archive, from the headers of at most PEEK of them."""
  return _of_encoded(found.read, names)


def _of_encoded(read: Callable[[Any], decode.Encoded], names: Sequence[Any]) -> Origin | None:
  contents = []
  for name in some(names):
    with contextlib.suppress(Exception):
      content = read(name)
      contents.append(content[:HEAD] if isinstance(content, bytes) else content)
  return of(contents)


def usual_side(read: Callable[[Any], decode.Encoded], names: Sequence[Any], fit: str) -> int:
  """Returns the side that images are fitted to if `data.size` is 0: their median short side, at most LARGEST.

  With fit `exact` it is 0: all images must have one size.

  Args:
    read: returns the encoded image of a name.
    names: names of the images, of any type.
    fit: `data.fit`.
  """
  if fit == 'exact':
    return 0
  seen = _of_encoded(read, names)
  side = min(LARGEST, seen.sides[1]) if seen else LARGEST
  log.info('data.size: images are fitted to %dx%d (fit %s).', side, side, fit)
  return side


def of_rows(data: Dataset, rows: np.ndarray) -> Origin | None:
  """Returns the origin of rows of a data set, from their files, a pack's record of these, or from their pixels.

  Args:
    data: the data set.
    rows: row numbers to examine.
  """
  if data.root:
    with files.open_images(data.root) as found:
      return of_files(found, data.names[rows].tolist())
  rows = some(rows)
  if data.pack and packed.facts(Path(data.pack))['files']:
    found = packed.columns(Path(data.pack), ('format', 'side', 'gray'))
    sides = found['side'][rows]
    shares = {name: n / len(rows) for name, n in Counter(found['format'][rows].tolist()).most_common()}
    return Origin(
      shares, (int(sides.min()), int(np.median(sides)), int(sides.max())), float(found['gray'][rows].mean())
    )
  return of(as_images(data.images).take(rows))


def some(values: Sequence | np.ndarray) -> Any:
  """Returns at most PEEK of the values, evenly spaced."""
  step = -(-len(values) // PEEK) or 1
  return values[::step]


def differences(trained: Origin | None, asked: Origin | None) -> str:
  """Returns a line on the differences that are likely to reduce accuracy; '' if there are none or an origin is unknown.

  Args:
    trained: origin of the training images.
    asked: origin of the images to predict.
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
  """Returns the file formats with their shares, for a message."""
  return ', '.join(name if share == 1 else f'{share:.0%} {name}' for name, share in origin.formats.items())


def _sides(origin: Origin) -> str:
  """Returns the range of the short sides, for a message."""
  low, _, high = origin.sides
  return f'{low}' if low == high else f'{low} to {high}'
