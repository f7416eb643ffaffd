"""Small pictures of rows, for people: of the original file where it is at hand, not of the crop that is trained on."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from noisyjax.data import decode, files
from noisyjax.data.dataset import Dataset
from noisyjax.system.errors import UserError


@contextlib.contextmanager
def originals(data: Dataset) -> Iterator[Callable[[int], np.ndarray]]:
  """Gives a function from a row to its image uint8 [H, W, C]: of its file, or of `data.images` where none can be read.

  Pillow's warnings are the caller's to quiet.
  """
  with contextlib.ExitStack() as stack:
    found = None
    if data.root:
      with contextlib.suppress(UserError):  # moved since it was decoded
        found = stack.enter_context(files.open_images(data.root))

    def read(row: int) -> np.ndarray:
      if found is not None:
        with contextlib.suppress(Exception):  # a decoder on damaged bytes may raise anything
          return decode.decode(found.read(str(data.names[row])))
      return data.images[row]

    yield read


def thumbnails(data: Dataset, rows: Sequence[int] | np.ndarray, side: int) -> Iterator[Image.Image]:
  """Yields a picture of each row, no longer than `side` pixels, whole and in its own proportions.

  A row without a file that can be read is shown as it is in `data.images`, pixel by pixel.
  """
  with originals(data) as read:
    for row in rows:
      with decode.quiet():
        image = read(row)
      yield _small(image, side)


def _small(image: np.ndarray, side: int) -> Image.Image:
  picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
  picture.thumbnail((side, side), Image.Resampling.BICUBIC)  # never makes one larger
  return picture
