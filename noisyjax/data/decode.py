"""Decodes image files to uint8 pixels as a viewer would display them, without changing the aspect ratio.

Images are rotated by their EXIF orientation. Gray, palette, CMYK, 16-bit and transparent images are converted;
transparent images are composed over white. Resizing keeps the aspect ratio: `crop` fills the square and cuts off the
rest, `pad` shows the whole image on black, `exact` refuses images of another size.
"""

import contextlib
import contextvars
import functools
import hashlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import PIL
import tqdm
from PIL import Image, ImageOps, features

from noisyjax.system import threads
from noisyjax.system.errors import LISTED, UserError, check_choice

FITS = ('exact', 'crop', 'pad')
# Formats of photos. Some other formats that Pillow supports start other programs (EPS) or do not hold pixels.
FORMATS = ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP', 'TIFF', 'PPM', 'AVIF', 'JPEG2000')
NO_HEIC = "HEIC cannot be read here; install pillow-heif (pip install 'noisyjax[heic]')"
GRAY = ('1', 'L', 'LA', 'I', 'I;16', 'F')  # modes of Pillow
FLAT = 20  # gray levels; images with a smaller range of values were probably scaled by mistake
FILTER = 'bicubic'  # of every resize
LONGEST = 32  # longest side of an image that is resized as a whole, relative to its shortest
Encoded = bytes | Image.Image | np.ndarray


class Decoded(NamedTuple):
  """The images that could be decoded, and messages about the others.

  Attributes:
    images: uint8 [G, H, W, C]; `images.Images` if a pack stores them, see `stored_by`.
    digests: `digest` of each image before it was resized, str [G].
    good: index of each image in the list of requested images, int64 [G].
    bad: a message 'name: reason' for each image that could not be decoded.
    sizes: height and width before the resize, int32 [G, 2].
    notes: notes for the user.
  """

  images: Any
  digests: np.ndarray
  good: np.ndarray
  bad: tuple[str, ...]
  sizes: np.ndarray
  notes: tuple[str, ...]

  def take(self, places: Sequence[int]) -> 'Decoded':
    """Returns the images at the given places among the G decoded images."""
    rows = {field: getattr(self, field)[places] for field in ('digests', 'good', 'sizes')}
    select = getattr(self.images, 'select', self.images.__getitem__)
    return self._replace(images=select(np.asarray(places, np.int64)), **rows)


class One(NamedTuple):
  """A decoded image.

  Attributes:
    image: uint8 [H, W, C] after the resize.
    digest: `digest` before the resize.
    size: height and width before the resize.
    several: whether the file has several pages or frames.
    format: Pillow's name of the file's format; 'arrays' if it is no file.
    gray: whether the file is gray.
    file: sha256 (hex) of the file; '' if it is no file.
  """

  image: np.ndarray
  digest: str
  size: tuple[int, int]
  several: bool
  format: str
  gray: bool
  file: str


# What keeps the decoded images of `decode_all`: a function of the names, the function from an index to its image or to
# the reason why there is none, and a stamp of the content. It returns the images and, for each name, the `One` (its
# pixels may be gone) or the reason.
Store = Callable[[Sequence[str], Callable[[int], One | str], str], tuple[Any, list[One | str]]]
_store: contextvars.ContextVar[Store | None] = contextvars.ContextVar('store', default=None)


@contextlib.contextmanager
def stored_by(store: Store) -> Iterator[None]:
  """Within the block, `decode_all` gives its images to `store` and not to memory, whichever source calls it."""
  token = _store.set(store)
  try:
    yield
  finally:
    _store.reset(token)


def decoder() -> str:
  """Returns the names and versions of what decodes images: other versions may return other pixels."""
  return f'Pillow {PIL.__version__}, libjpeg-turbo {features.version("libjpeg_turbo")}'


def decode(data: bytes) -> np.ndarray:
  """Decodes an image file to RGB, uint8 [H, W, 3]; of several pages or frames it returns the first.

  Raises:
    Exception: the content is corrupt, truncated or not an image; Pillow raises various types.
  """
  return _decoded(data)[0]


def _decoded(data: bytes) -> tuple[np.ndarray, bool, str, bool]:
  """Returns RGB, uint8 [H, W, 3]; whether there are more pages or frames; the format; and whether the file is gray."""
  with _opened(io.BytesIO(data)) as image:
    gray = image.mode in GRAY
    several = image.format != 'GIF' and getattr(image, 'is_animated', False)  # for a GIF this moves to other frames
    ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(_rgb(image))
  if image.format == 'GIF':
    with contextlib.suppress(Exception), _opened(io.BytesIO(data)) as image:  # a later frame may be damaged
      several = getattr(image, 'is_animated', False)
  form = image.format or ''
  return pixels, several and form != 'MPO', form, gray  # MPO: a photo of a phone with a preview


def _opened(file: IO[bytes]) -> Image.Image:
  """Opens an image file; raises ValueError for HEIC if pillow-heif is missing."""
  try:
    return Image.open(file, formats=_formats())
  except Image.UnidentifiedImageError:
    file.seek(4)
    if file.read(8) in (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftyphevc', b'ftypmsf1'):
      raise ValueError(NO_HEIC) from None
    raise


@functools.cache
def _formats() -> tuple[str, ...]:
  """Returns the formats that the installed Pillow supports, including HEIC if pillow-heif is installed."""
  try:
    import pillow_heif

    pillow_heif.register_heif_opener()
  except ImportError:
    pass
  Image.init()
  return tuple(name for name in (*FORMATS, 'HEIF') if name in Image.OPEN)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
  """Suppresses the warnings of Pillow within the block; notes and errors report what matters to the user."""
  logger = logging.getLogger('PIL')
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    with warnings.catch_warnings():  # applies to all threads
      warnings.simplefilter('ignore')
      yield
  finally:
    logger.setLevel(level)


def identified(opened: Callable[[], IO[bytes]]) -> bool:
  """Returns whether the first bytes of a file are those of an image."""
  try:
    with quiet(), opened() as file, _opened(file):
      return True
  except Exception:  # as in `_decode_one`
    return False


def _rgb(image: Image.Image) -> Image.Image:
  """Converts an image to RGB."""
  if image.mode == 'F':
    raise ValueError('floating-point pixels have no agreed range of 0..255')
  if image.mode.startswith('I'):  # 16 bits per pixel; Pillow's conversion would clip at 255
    deep = np.asarray(image)
    if deep.min() < 0 or deep.max() > 65535:
      raise ValueError('integer pixels below 0 or above 65535 have no agreed range')
    image = Image.fromarray((deep / 257 + 0.5).astype(np.uint8))
  if image.has_transparency_data:
    page = Image.new('RGBA', image.size, 'white')
    page.alpha_composite(image.convert('RGBA'))
    image = page
  return image.convert('RGB')


def digest(image: np.ndarray) -> str:
  """Returns the sha256 (hex) of an image's shape and RGB pixels, the id of a sample.

  A gray image [H, W, 1] is hashed as the equivalent RGB image, so that ids do not depend on `data.channels`.
  """
  image = np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
  return hashlib.sha256(f'{image.shape}'.encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def picture(image: np.ndarray) -> Image.Image:
  """Returns an image, uint8 [H, W, 1 or 3], as a picture of Pillow, which holds gray pixels as [H, W]."""
  return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def fit_image(image: np.ndarray, size: int, fit: str) -> np.ndarray:
  """Resizes an image, uint8 [H, W, C], to [size, size, C] without changing the aspect ratio.

  'crop' keeps the central square, 'pad' adds black borders, 'exact' returns the image unchanged.
  """
  height, width, channels = image.shape
  if fit == 'exact' or (height, width) == (size, size):
    return image
  if fit == 'crop' and max(height, width) > LONGEST * min(height, width):  # resized as a whole it would fill the memory
    long = LONGEST * min(height, width)
    top, left = max(0, height - long) // 2, max(0, width - long) // 2
    image = image[top : top + long, left : left + long]
    height, width, _ = image.shape
  scale = size / (min(height, width) if fit == 'crop' else max(height, width))
  shape = max(1, round(width * scale)), max(1, round(height * scale))
  resized = picture(image)
  if shape != (width, height):
    resized = resized.resize(shape, Image.Resampling.BICUBIC)
  # Pillow fills the part of a crop box outside the image with black, so the same call crops and pads.
  left, top = (shape[0] - size) // 2, (shape[1] - size) // 2
  return np.asarray(resized.crop((left, top, left + size, top + size))).reshape(size, size, channels)


def fit_images(images: np.ndarray, size: int, fit: str, names: Sequence[str] | np.ndarray) -> np.ndarray:
  """Returns images, uint8 [N, H, W, C], resized to `size` x `size` (0 = unchanged) according to `fit`.

  Raises:
    UserError: `fit` is 'exact' and the images have another size.
  """
  check_choice('data.fit', fit, FITS)
  if not size or images.shape[1:3] == (size, size):
    return images
  return stack([fit_image(image, size, fit) for image in images], names, size)


def stack(images: Sequence[np.ndarray], names: Sequence[str] | np.ndarray, size: int) -> np.ndarray:
  """Stacks images to [N, H, W, C]; all must be `size` x `size`, or of equal size if `size` is 0.

  Raises:
    UserError: some images have another size; the message lists them.
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
  """Returns one line per text, at most LISTED."""
  more = [f'and {len(texts) - LISTED} more'] if len(texts) > LISTED else []
  return ''.join(f'\n  {text}' for text in [*texts[:LISTED], *more])


def _text(shape: Sequence[int]) -> str:
  """Returns a shape (height, width) as text, width x height."""
  return f'{shape[1]}x{shape[0]}'


def decode_all(
  names: Sequence[str],
  read: Callable[[int], Encoded],
  size: int = 0,
  fit: str = 'exact',
  channels: int = 3,
  stamp: str = '',
) -> Decoded:
  """Decodes many images. Images that cannot be decoded are reported in `Decoded.bad`.

  Args:
    names: name of each image in messages.
    read: returns, for an index, the content of the file, an opened image, or its pixels, uint8 [H, W, 3].
    size: side of the square that all images are fitted to; 0 requires that all have one size.
    fit: 'exact', 'crop' or 'pad'.
    channels: 3 or 1.
    stamp: changes with the content of the images.

  Raises:
    UserError: sizes differ (see `stack`), or no image can be decoded.
  """
  check_choice('data.fit', fit, FITS)
  check_choice('data.channels', str(channels), ('1', '3'))
  one = functools.partial(_decode_one, read=read, size=size, fit=fit, channels=channels)
  with quiet():
    images, results = (_store.get() or functools.partial(_in_memory, size=size))(names, one, stamp)
  good = np.array([i for i, result in enumerate(results) if isinstance(result, One)], np.int64)
  bad = tuple(f'{names[i]}: {result}' for i, result in enumerate(results) if isinstance(result, str))
  made = [result for result in results if isinstance(result, One)]
  several = [names[i] for i, one in zip(good, made) if one.several]
  notes = (
    [f'{len(several)} image(s) have several pages or frames, such as {several[0]}; the first is used.']
    if several
    else []
  )
  if isinstance(images, np.ndarray):
    notes += plausible(images, 'images')
  digests, sizes = np.array([one.digest for one in made]), np.array([one.size for one in made], np.int32)
  return Decoded(images, digests, good, bad, sizes, tuple(notes))


def _in_memory(
  names: Sequence[str], one: Callable[[int], One | str], stamp: str, size: int
) -> tuple[np.ndarray, list[One | str]]:
  """Returns all images as one array, see `Store`; they must have one size, which is `size` unless that is 0."""
  found = threads.ahead(one, range(len(names)))
  # The progress bar appears on terminals only, and after one second.
  results = list(tqdm.tqdm(found, 'decode', len(names), unit=' images', disable=None, delay=1))
  good = [i for i, result in enumerate(results) if isinstance(result, One)]
  check_any(names, results)
  return stack([results[i].image for i in good], [names[i] for i in good], size), results


def check_any(names: Sequence[str], results: Sequence[One | str]) -> None:
  """Raises UserError if no image could be decoded."""
  if all(isinstance(result, str) for result in results):
    raise UserError('None of the images can be read:' + _lines([f'{n}: {result}' for n, result in zip(names, results)]))


def plausible(images: np.ndarray, where: str) -> list[str]:
  """Returns a note if the pixels, uint8 [N, H, W, C], use only a few percent of the range 0..255, as masks do."""
  low, high = int(images.min(initial=255)), int(images.max(initial=0))
  if not images.size or high - low > FLAT:
    return []
  return [
    f'{where}: all pixels lie in {low}..{high}, {(high - low) / 255:.0%} of the range 0..255. '
    'Were they scaled down, or are they masks or numbers of 12 bits?'
  ]


def check_bad(bad: Sequence[str], skip_bad: bool, where: str, skip: str = 'data.skip_bad=True') -> list[str]:
  """Returns a note on the bad images that were left out; none if there are none.

  Args:
    bad: a message for each bad image.
    skip_bad: whether bad images are left out instead of raising.
    where: name of the images in messages.
    skip: the setting that leaves bad images out, for messages.

  Raises:
    UserError: there are bad images and `skip_bad` is False; the message lists them.
  """
  if not bad:
    return []
  if skip_bad:
    more = '; …' if len(bad) > LISTED else ''
    return [f'{where}: left out {len(bad)} bad image(s): {"; ".join(bad[:LISTED])}{more}.']
  raise UserError(
    f'{where}: {len(bad)} image(s) missing or unreadable. Replace them, or set {skip} to go on without them:'
    + _lines(bad)
  )


def readable(read: Callable[[], bytes]) -> bool:
  """Returns whether `read()` returns the content of a decodable image."""
  try:
    with quiet():
      decode(read())
  except Exception:  # as below
    return False
  return True


def _decode_one(i: int, *, read: Callable[[int], Any], size: int, fit: str, channels: int) -> One | str:
  """Returns a decoded image, or the reason why it cannot be decoded."""
  several, form, gray, file = False, 'arrays', False, ''
  try:
    image = read(i)
    if isinstance(image, bytes):
      file = hashlib.sha256(image).hexdigest()
      image, several, form, gray = _decoded(image)
    elif isinstance(image, Image.Image):
      image = np.asarray(_rgb(ImageOps.exif_transpose(image)))  # does not modify the caller's image
  except Exception as error:  # decoders may raise any exception on damaged content; its message goes to the user
    # Pillow's own message contains the address of the buffer, which changes from run to run.
    reason = 'no image that Pillow can read' if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return reason or type(error).__name__
  name, shape = digest(image), image.shape[:2]  # before conversion to gray and resizing
  if channels == 1:
    image = np.asarray(Image.fromarray(image).convert('L'))[..., None]
  return One(fit_image(image, size, fit) if size else image, name, shape, several, form, gray, file)
