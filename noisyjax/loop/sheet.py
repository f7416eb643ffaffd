"""Contact sheets: small pictures of rows with lines of text below each, as one PNG."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from noisyjax.data import decode, files
from noisyjax.system import storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

LINE = 13  # pixels of a line of text
MOST = 240  # maximum number of pictures of a sheet that `write` draws


def draw(images: Iterable[np.ndarray], captions: Sequence[Sequence[str]], side: int, across: int) -> bytes:
  """Returns a PNG.

  Args:
    images: uint8 [H, W, C] each, taken one by one.
    captions: lines of text below each image, equally many; of a long line the end is shown.
    side: longer side of a picture, in pixels.
    across: pictures in a row.
  """
  wide, high = side + 8, side + LINE * len(captions[0]) + 6
  page = Image.new('RGB', (min(across, len(captions)) * wide, -(-len(captions) // across) * high), 'white')
  pen = ImageDraw.Draw(page)
  for i, (array, lines) in enumerate(zip(images, captions)):
    x, y = (i % across) * wide + 4, (i // across) * high
    picture = decode.picture(array).convert('RGB')
    scale = side / max(picture.size)
    kind = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC
    picture = picture.resize([max(1, round(scale * length)) for length in picture.size], kind)
    page.paste(picture, (x + (side - picture.width) // 2, y + (side - picture.height) // 2))
    for k, line in enumerate(lines):
      text = line[-(side // 6) :].encode('latin-1', 'replace').decode('latin-1')
      pen.text((x, y + side + LINE * k), text, 'black')
  buffer = io.BytesIO()
  page.save(buffer, 'PNG')
  return buffer.getvalue()


def write(path: Path, root: str, names: Sequence[str], captions: Sequence[Sequence[str]]) -> bool:
  """Draws the first MOST images of a folder or zip.

  Args:
    path: of the PNG.
    root: folder or zip that the names lie in; '' where the images are no files.
    names: of the images.
    captions: lines below each of them, equally many.

  Returns:
    Whether it was drawn: images that are gone are no reason to write no proposals.
  """
  if not root or not names:
    return False
  try:
    with files.open_images(root) as found, decode.quiet():
      png = draw((decode.decode(found.read(name)) for name in names[:MOST]), captions[:MOST], 112, 8)
  except (UserError, OSError, ValueError, KeyError) as error:
    log.warning('%s: no contact sheet: %s', path, error)
    return False
  storage.write_bytes(path, png)
  return True
