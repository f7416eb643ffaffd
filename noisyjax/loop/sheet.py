"""A contact sheet: small pictures of rows with a line below each, as one PNG."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from noisyjax.data import decode, files
from noisyjax.system import storage
from noisyjax.system.errors import UserError
from noisyjax.system.log import log

SIDE, LINE, ACROSS, MOST = 112, 13, 8, 240  # pixels of a picture and of a line of text; pictures in a row, and in all
_LETTERS = 18  # of a line below a picture


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
  high = SIDE + LINE * len(captions[0]) + 6
  shown = list(zip(names, captions))[:MOST]
  page = Image.new('RGB', (ACROSS * (SIDE + 8), -(-len(shown) // ACROSS) * high), 'white')
  pen = ImageDraw.Draw(page)
  try:
    with files.open_images(root) as found, decode.quiet():
      for i, (name, lines) in enumerate(shown):
        x, y = (i % ACROSS) * (SIDE + 8) + 4, (i // ACROSS) * high
        array = decode.decode(found.read(name))
        picture = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).convert('RGB')
        scale = SIDE / max(picture.size)
        picture = picture.resize([max(1, round(scale * side)) for side in picture.size])
        page.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        for k, line in enumerate(lines):
          pen.text((x, y + SIDE + LINE * k), line[-_LETTERS:].encode('latin-1', 'replace').decode('latin-1'), 'black')
  except (UserError, OSError, ValueError, KeyError) as error:
    log.warning('%s: no contact sheet: %s', path, error)
    return False
  buffer = io.BytesIO()
  page.save(buffer, 'PNG')
  storage.write_bytes(path, buffer.getvalue())
  return True
