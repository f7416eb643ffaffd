"""The JPEG files of packs. simplejpeg decodes them, where it is installed (the extra `jpeg`), and Pillow elsewhere."""

import functools
import io
from types import ModuleType

import numpy as np
from PIL import Image

from noisyjax.data import decode

QUALITY = 95


def encoded(image: np.ndarray) -> bytes:
  """Returns an image, uint8 [H, W, 1 or 3], as a JPEG file."""
  file = io.BytesIO()
  decode.picture(image).save(file, 'JPEG', quality=QUALITY)
  return file.getvalue()


def decoded(content: bytes, channels: int) -> np.ndarray:
  """Returns the pixels of a JPEG file, uint8 [H, W, channels].

  Args:
    content: a file that `encoded` wrote.
    channels: 1 or 3.

  Raises:
    Exception: the file is damaged; decoders raise various types.
  """
  if (fast := _simplejpeg()) is not None:
    return fast.decode_jpeg(content, 'GRAY' if channels == 1 else 'RGB')
  with Image.open(io.BytesIO(content), formats=('JPEG',)) as image:
    return np.asarray(image).reshape(*image.size[::-1], channels)


def decoder() -> str:
  """Returns the name and version of what decodes these files: other versions may return other pixels."""
  fast = _simplejpeg()
  return decode.decoder() if fast is None else f'simplejpeg {fast.__version__}'


@functools.cache
def _simplejpeg() -> ModuleType | None:
  try:
    import simplejpeg
  except ImportError:
    return None
  return simplejpeg
