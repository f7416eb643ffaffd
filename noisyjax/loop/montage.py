"""Small pictures of rows with a line below each, as one PNG for a page: what a rule changed."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE, LINE, ACROSS = 56, 13, 12  # pixels of a picture and of the line of text; pictures in a row
_LETTERS = 10  # of the line


def draw(images: np.ndarray, captions: Sequence[str]) -> bytes:
  """Returns a PNG.

  Args:
    images: uint8 [n, H, W, C].
    captions: one for each image.
  """
  high, across = SIDE + LINE + 6, min(ACROSS, max(1, len(images)))
  page = Image.new('RGB', (across * (SIDE + 8), max(1, -(-len(images) // ACROSS)) * high), 'white')
  pen = ImageDraw.Draw(page)
  for i, (array, caption) in enumerate(zip(images, captions)):
    x, y = (i % ACROSS) * (SIDE + 8) + 4, (i // ACROSS) * high
    picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert('RGB')
    scale = SIDE / max(picture.size)
    kind = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
    page.paste(picture.resize([max(1, round(scale * side)) for side in picture.size], kind), (x, y))
    pen.text((x, y + SIDE), caption[:_LETTERS].encode('latin-1', 'replace').decode('latin-1'), fill='black')
  buffer = io.BytesIO()
  page.save(buffer, 'png')
  return buffer.getvalue()
