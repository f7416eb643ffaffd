"""Thumbnails of rows for reports: of the original files if they are available, otherwise of the images trained on."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from noisyjax.data import decode, files
from noisyjax.data.dataset import Dataset
from noisyjax.data.images import as_images
from noisyjax.system.errors import UserError


@contextlib.contextmanager
def originals(data: Dataset) -> Iterator[Callable[[int], np.ndarray]]:
  """Yields a function from a row number to its image, uint8 [H, W, C].

  The image is that of the file, or that in `data.images` if the file cannot be read. The caller should suppress the
  warnings of Pillow.
  """
  with contextlib.ExitStack() as stack:
    found = None
    if data.root:
      with contextlib.suppress(UserError):  # the files were moved after they were decoded
        found = stack.enter_context(files.open_images(data.root))

    def read(row: int) -> np.ndarray:
      if found is not None:
        with contextlib.suppress(Exception):  # a decoder on damaged bytes may raise anything
          return decode.decode(found.read(str(data.names[row])))
      return as_images(data.images).take(np.array([row]))[0]

    yield read


def thumbnails(data: Dataset, rows: Sequence[int] | np.ndarray, side: int) -> Iterator[Image.Image]:
  """Yields a thumbnail of each row: the whole image in its own proportions, with sides of at most `side` pixels.

  For rows whose file cannot be read, it shows the image in `data.images`.
  """
  with originals(data) as read:
    for row in rows:
      with decode.quiet():
        image = read(row)
      yield _small(image, side)


def _small(image: np.ndarray, side: int) -> Image.Image:
  """Returns a picture of an image, shrunk so that its longer side has at most `side` pixels."""
  picture = decode.picture(image)
  picture.thumbnail((side, side), Image.Resampling.BICUBIC)  # never enlarges
  return picture
