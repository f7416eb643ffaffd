"""Bytes of an image file → uint8 pixels, as a person would see them, never stretched.

An image is turned as its EXIF orientation says; gray, palette, CMYK, 16-bit and transparent images are converted
(transparency over white, the page it was made for). Resizing keeps the aspect: `crop` fills the square and cuts the
rest, `pad` shows everything on black, `exact` refuses.
"""

import concurrent.futures
import functools
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tqdm
from PIL import Image, ImageOps

from noisyjax.errors import UserError, check_choice

FITS = ('exact', 'crop', 'pad')
Encoded = bytes | Image.Image | np.ndarray


class Decoded(NamedTuple):
  """The images that could be read, and a sentence for each that could not."""

  images: np.ndarray  # uint8 [G, H, W, C]
  digests: np.ndarray  # str [G]: `digest` of each image before it was resized
  good: np.ndarray  # int64 [G]: position in the list that was asked for
  bad: tuple[str, ...]  # 'name: reason'


def decode(data: bytes) -> np.ndarray:
  """Decodes one image file to RGB, uint8 [H, W, 3].

  Raises:
    Exception: whatever Pillow raises on bytes that are corrupt, truncated or no image.
  """
  with Image.open(io.BytesIO(data)) as image:
    ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(_rgb(image))


def _rgb(image: Image.Image) -> Image.Image:
  if image.mode == 'F':
    raise ValueError('floating-point pixels have no agreed range of 0..255')
  if image.mode.startswith('I'):  # 16 bits a pixel; Pillow's own conversion would clip at 255
    image = Image.fromarray(np.clip(np.asarray(image) / 257 + 0.5, 0, 255).astype(np.uint8))
  if image.has_transparency_data:
    page = Image.new('RGBA', image.size, 'white')
    page.alpha_composite(image.convert('RGBA'))
    image = page
  return image.convert('RGB')


def digest(image: np.ndarray) -> str:
  """Returns the sha256 (hex) of an image's shape and RGB pixels: the name of a sample wherever it is stored.

  A gray image [H, W, 1] is hashed as the RGB image it looks like, so that `data.channels` changes no id.
  """
  image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
  return hashlib.sha256(f'{image.shape}'.encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def fit_image(image: np.ndarray, size: int, fit: str) -> np.ndarray:
  """Returns `image` uint8 [H, W, C] as [size, size, C]: 'crop' cuts the centre square, 'pad' adds black borders.

  The aspect is kept; an image that has the size already comes back as it is, and 'exact' changes nothing.
  """
  height, width, channels = image.shape
  if fit == 'exact' or (height, width) == (size, size):
    return image
  scale = size / (min(height, width) if fit == 'crop' else max(height, width))
  shape = max(1, round(width * scale)), max(1, round(height * scale))
  picture = Image.fromarray(image[..., 0] if channels == 1 else image)
  if shape != (width, height):
    picture = picture.resize(shape, Image.Resampling.BICUBIC)
  # A crop box that leaves the image is filled with black: the same call crops and pads.
  left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
  return np.asarray(picture.crop((left, top, left + size, top + size))).reshape(size, size, channels)


def fit_images(images: np.ndarray, size: int, fit: str, names: Sequence[str]) -> np.ndarray:
  """Returns `images` uint8 [N, H, W, C] at `size` x `size` (0 = as they are), fitted as `fit` says.

  Raises:
    UserError: for fit 'exact' where the size is another one.
  """
  check_choice('data.fit', fit, FITS)
  if not size or images.shape[1:3] == (size, size):
    return images
  return stack([fit_image(image, size, fit) for image in images], names, size)


def stack(images: Sequence[np.ndarray], names: Sequence[str], size: int) -> np.ndarray:
  """Stacks `images` to [N, H, W, C]; all must be `size` x `size`, or of one size where `size` is 0.

  Raises:
    UserError: listing the images of another size.
  """
  shapes = Counter(image.shape[:2] for image in images)
  usual = (size, size) if size else shapes.most_common(1)[0][0]
  wrong = [f'{name}: {_text(i.shape)}' for name, i in zip(names, images, strict=True) if i.shape[:2] != usual]
  if wrong:
    wanted = f'data.size={size} and data.fit=exact ask for' if size else 'most images have'
    raise UserError(
      f'{len(wrong)} of {len(images)} images are not {_text(usual)}, which {wanted}. Set data.size and choose '
      f'data.fit=crop (fill the square, cut the rest) or data.fit=pad (black borders). Their sizes (width x height):'
      + ''.join(f'\n  {line}' for line in wrong)
    )
  return np.stack(images)


def _text(shape: Sequence[int]) -> str:
  return f'{shape[1]}x{shape[0]}'


def decode_all(
  names: Sequence[str], read: Callable[[int], Encoded], size: int = 0, fit: str = 'exact', channels: int = 3
) -> Decoded:
  """Decodes many images; one that cannot be read does not stop the others.

  Args:
    names: what each image is called in a message.
    read: position → bytes of the file, an opened image, or its pixels uint8 [H, W, 3].
    size: side of the square that all images are fitted to; 0 asks that all have one size.
    fit: 'exact', 'crop' or 'pad'.
    channels: 3 or 1.

  Raises:
    UserError: if sizes differ (see `stack`) or no image can be read.
  """
  check_choice('data.fit', fit, FITS)
  check_choice('data.channels', str(channels), ('1', '3'))
  one = functools.partial(_decode_one, read=read, size=size, fit=fit, channels=channels)
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())  # Pillow decodes outside the interpreter's lock
  try:
    # A bar only on a terminal, and only once the wait is worth one.
    bar = tqdm.tqdm(pool.map(one, range(len(names))), 'decode', len(names), unit=' images', disable=None, delay=1)
    results = list(bar)
  finally:
    pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the images that are left
  good = np.array([i for i, (image, _) in enumerate(results) if image is not None], np.int64)
  bad = tuple(f'{names[i]}: {text}' for i, (image, text) in enumerate(results) if image is None)
  if not len(good):
    raise UserError('None of the images can be read:' + ''.join(f'\n  {line}' for line in bad))
  images = stack([results[i][0] for i in good], [names[i] for i in good], size)
  return Decoded(images, np.array([results[i][1] for i in good]), good, bad)


def check_bad(
  bad: Sequence[str], skip_bad: bool, where: str, skip: str = 'data.skip_bad=True (find: --skip_bad)'
) -> list[str]:
  """Returns a note about the `bad` images (a sentence each) that were left out, none if there are none.

  Args:
    skip: what a person sets to leave them out.

  Raises:
    UserError: listing all of them, unless `skip_bad`.
  """
  if not bad:
    return []
  if skip_bad:
    return [f'{where}: left out {len(bad)} bad image(s): {"; ".join(bad)}.']
  raise UserError(
    f'{where}: {len(bad)} image(s) missing or unreadable. Mend them, or set {skip} to go on without them:'
    + ''.join(f'\n  {line}' for line in bad)
  )


def readable(read: Callable[[], bytes]) -> bool:
  """Returns whether `read()` gives an image."""
  try:
    decode(read())
  except Exception:  # as below
    return False
  return True


def _pixels(content: Encoded) -> np.ndarray:
  if isinstance(content, np.ndarray):
    return content
  if isinstance(content, Image.Image):
    return np.asarray(_rgb(ImageOps.exif_transpose(content)))  # the caller's stays as it is
  return decode(content)


def _decode_one(i: int, *, read, size: int, fit: str, channels: int) -> tuple[np.ndarray | None, str]:
  """Returns (image, digest), or (None, reason)."""
  try:
    image = _pixels(read(i))
  except Exception as error:  # a decoder on damaged bytes may raise anything; what it says goes to the user
    # Pillow names the buffer's address, which says nothing and changes from run to run.
    reason = 'no image that Pillow can read' if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return None, reason or type(error).__name__
  name = digest(image)  # before it is made gray or resized
  if channels == 1:
    image = np.asarray(Image.fromarray(image).convert('L'))[..., None]
  return (fit_image(image, size, fit) if size else image), name
