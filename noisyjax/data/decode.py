"""Bytes of an image file → uint8 pixels, as a person would see them, never stretched.

An image is turned as its EXIF orientation says; gray, palette, CMYK, 16-bit and transparent images are converted
(transparency over white, the page it was made for). Resizing keeps the aspect: `crop` fills the square and cuts the
rest, `pad` shows everything on black, `exact` refuses.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import tqdm
from PIL import Image, ImageOps

from noisyjax.system.errors import LISTED, UserError, check_choice

FITS = ('exact', 'crop', 'pad')
# What photos come in. Others that Pillow knows may start other programs (EPS) or mean no pixels.
FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM', 'AVIF', 'JPEG2000')
NO_HEIC = "HEIC cannot be read here; install pillow-heif (pip install 'noisyjax[heic]')"
FLAT = 20  # gray levels: images whose pixels differ by no more were probably scaled down by mistake
Encoded = bytes | Image.Image | np.ndarray


class Decoded(NamedTuple):
  """The images that could be read, and a sentence for each that could not."""

  images: np.ndarray  # uint8 [G, H, W, C]
  digests: np.ndarray  # str [G]: `digest` of each image before it was resized
  good: np.ndarray  # int64 [G]: position in the list that was asked for
  bad: tuple[str, ...]  # 'name: reason'
  sizes: np.ndarray  # int32 [G, 2]: height and width before the resize
  notes: tuple[str, ...]  # what a person should know of the files

  def take(self, places: Sequence[int]) -> 'Decoded':
    """Returns these images alone, of the G that could be read."""
    rows = {field: getattr(self, field)[places] for field in ('images', 'digests', 'good', 'sizes')}
    return self._replace(**rows)


def decode(data: bytes) -> np.ndarray:
  """Decodes one image file to RGB, uint8 [H, W, 3]; of several pages or frames the first.

  Raises:
    Exception: whatever Pillow raises on bytes that are corrupt, truncated or no image.
  """
  return _decoded(data)[0]


def _decoded(data: bytes) -> tuple[np.ndarray, bool]:
  """Returns RGB, uint8 [H, W, 3], and whether there are more pages or frames."""
  with _opened(io.BytesIO(data)) as image:
    several = image.format != 'GIF' and getattr(image, 'is_animated', False)  # a GIF seeks to know
    ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(_rgb(image))
  if image.format == 'GIF':
    with contextlib.suppress(Exception), _opened(io.BytesIO(data)) as image:  # a later frame may be damaged
      several = getattr(image, 'is_animated', False)
  return pixels, several and image.format != 'MPO'  # a phone's photo with a preview


def _opened(file: IO[bytes]) -> Image.Image:
  try:
    return Image.open(file, formats=_formats())
  except Image.UnidentifiedImageError:
    file.seek(4)
    if file.read(8) in (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftyphevc', b'ftypmsf1'):
      raise ValueError(NO_HEIC) from None
    raise


@functools.cache
def _formats() -> tuple[str, ...]:
  """Returns the formats that this Pillow reads, HEIC among them where pillow-heif is installed."""
  try:
    import pillow_heif

    pillow_heif.register_heif_opener()
  except ImportError:
    pass
  Image.init()
  return tuple(name for name in (*FORMATS, 'HEIF') if name in Image.OPEN)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Keeps Pillow's own warnings off the terminal: what a person should know of them is in notes and errors."""
  logger = logging.getLogger('PIL')
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    with warnings.catch_warnings():  # of all threads
      warnings.simplefilter('ignore')
      yield
  finally:
    logger.setLevel(level)


def identified(opened: Callable[[], IO[bytes]]) -> bool:
  """Returns whether a file is an image by its first bytes."""
  try:
    with quiet(), opened() as file, _opened(file):
      return True
  except Exception:  # as in `_decode_one`
    return False


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
      + _lines(wrong)
    )
  return np.stack(images)


def _lines(texts: Sequence[str]) -> str:
  """Returns a line for each, cut at ten."""
  more = [f'and {len(texts) - LISTED} more'] if len(texts) > LISTED else []
  return ''.join(f'\n  {text}' for text in [*texts[:LISTED], *more])


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
  with quiet():
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())  # Pillow decodes outside the interpreter's lock
    try:
      # A bar only on a terminal, and only once the wait is worth one.
      bar = tqdm.tqdm(pool.map(one, range(len(names))), 'decode', len(names), unit=' images', disable=None, delay=1)
      results = list(bar)
    finally:
      pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the images that are left
  good = np.array([i for i, result in enumerate(results) if isinstance(result, _One)], np.int64)
  bad = tuple(f'{names[i]}: {result}' for i, result in enumerate(results) if isinstance(result, str))
  if not len(good):
    raise UserError('None of the images can be read:' + _lines(bad))
  made = [results[i] for i in good]
  images = stack([one.image for one in made], [names[i] for i in good], size)
  several = [names[i] for i, one in zip(good, made) if one.several]
  notes = (
    [f'{len(several)} image(s) have several pages or frames, such as {several[0]}; the first is used.']
    if several
    else []
  )
  digests, sizes = np.array([one.digest for one in made]), np.array([one.size for one in made], np.int32)
  return Decoded(images, digests, good, bad, sizes, (*notes, *plausible(images, 'images')))


def plausible(images: np.ndarray, where: str) -> list[str]:
  """Returns a note if the pixels uint8 [N, H, W, C] use a few per cent of their range, as those of a mask do."""
  low, high = int(images.min(initial=255)), int(images.max(initial=0))
  if not images.size or high - low > FLAT:
    return []
  return [
    f'{where}: all pixels lie in {low}..{high}, {(high - low) / 255:.0%} of the range 0..255. '
    'Were they scaled down, or are they masks or numbers of 12 bits?'
  ]


def check_bad(
  bad: Sequence[str], skip_bad: bool, where: str, skip: str = 'data.skip_bad=True (find: --skip_bad)'
) -> list[str]:
  """Returns a note about the `bad` images (a sentence each) that were left out, none if there are none.

  Args:
    skip: what a person sets to leave them out.

  Raises:
    UserError: listing them, unless `skip_bad`.
  """
  if not bad:
    return []
  if skip_bad:
    more = '; …' if len(bad) > LISTED else ''
    return [f'{where}: left out {len(bad)} bad image(s): {"; ".join(bad[:LISTED])}{more}.']
  raise UserError(
    f'{where}: {len(bad)} image(s) missing or unreadable. Mend them, or set {skip} to go on without them:' + _lines(bad)
  )


def readable(read: Callable[[], bytes]) -> bool:
  """Returns whether `read()` gives an image."""
  try:
    with quiet():
      decode(read())
  except Exception:  # as below
    return False
  return True


class _One(NamedTuple):
  image: np.ndarray
  digest: str
  size: tuple[int, int]
  several: bool


def _decode_one(i: int, *, read: Callable[[int], Any], size: int, fit: str, channels: int) -> _One | str:
  """Returns the image, or the reason why there is none."""
  several = False
  try:
    image = read(i)
    if isinstance(image, bytes):
      image, several = _decoded(image)
    elif isinstance(image, Image.Image):
      image = np.asarray(_rgb(ImageOps.exif_transpose(image)))  # the caller's stays as it is
  except Exception as error:  # a decoder on damaged bytes may raise anything; what it says goes to the user
    # Pillow names the buffer's address, which says nothing and changes from run to run.
    reason = 'no image that Pillow can read' if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return reason or type(error).__name__
  name, shape = digest(image), image.shape[:2]  # before it is made gray or resized
  if channels == 1:
    image = np.asarray(Image.fromarray(image).convert('L'))[..., None]
  return _One(fit_image(image, size, fit) if size else image, name, shape, several)
