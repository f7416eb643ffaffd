"""Converts pixels of any type to uint8 [N, H, W, C]; it alone interprets values, axes and a fourth channel.

The interpretation is the same for all images of a call. Unambiguous input is accepted, with a note if the
interpretation may surprise. Ambiguous input (floats in 0..1, negative values) is refused, with advice.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisyjax.data import decode
from noisyjax.system import reading, storage
from noisyjax.system.errors import UserError, listed


def normalised(images: Any, where: str = 'images') -> tuple[Any, tuple[str, ...]]:
  """Returns images of one size as uint8 [N, H, W, C] with C = 1 or 3, and notes for the user.

  Args:
    images: `Images` of a pack, which are returned; an array, or a list of arrays, [N, H, W, C], [N, H, W] (gray), or
      [N, C, H, W] if the last axis cannot be channels. 4 channels are RGBA, composed over white. Values are bool;
      integers of any type in 0..255; uint16 up to 4095 (12 bits) or 65535, which are scaled; or floats in 0..255, which
      are rounded.
    where: name of the images in messages.

  Raises:
    UserError: the shape is wrong, values are out of range or NaN, or floats seem to be divided by 255.
  """
  if not getattr(images, 'resident', True):
    return images, ()
  array = _array(images, where)
  array, notes = _channels_last(array, where)
  (array,), scaled = _eight_bits([array], where)
  if array.shape[-1] == 4:
    notes.append(f'{where}: 4 channels are taken as RGBA; transparent pixels lie on white.')
    array = _on_white(array)
  return array, (*notes, *scaled, *decode.plausible(array, where))


def gathered(
  items: Sequence[Any], size: int, fit: str, channels: int = 3, where: str = 'images'
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns images of mixed sizes as uint8 [N, size, size, channels], and notes for the user.

  Args:
    items: paths, PIL images, encoded images (bytes, or a dictionary with `bytes` or `path` as Hugging Face's `datasets`
      stores them), or arrays [H, W, C] or [H, W], in any mixture.
    size: side of the square that images are fitted to; 0 requires that all have one size.
    fit: 'exact', 'crop' or 'pad'.
    channels: 3, or 1 (gray).
    where: name of the images in messages.

  Raises:
    UserError: images cannot be read or have another size, or values are wrong as in `normalised`.
  """
  items = list(items)
  if not items:
    raise UserError(f'{where}: there are none; expected at least one image.')
  arrays = {i: np.asarray(item) for i, item in enumerate(items) if not isinstance(item, _ENCODED)}
  turned = [_channels_last(_row(array, f'{where}: row {i} (from 0)'), where) for i, array in arrays.items()]
  batches, notes = _eight_bits([batch for batch, _ in turned], where, list(arrays)) if turned else ([], [])
  if first := sum(bool(done) for _, done in turned):
    notes = [*notes, f'{where}: {first} arrays have channels first; read with channels last.']
  pixels = {i: _colour(batch) for i, batch in zip(arrays, batches)}
  names = [_name(item, i) for i, item in enumerate(items)]
  decoded = decode.decode_all(names, lambda i: pixels[i] if i in pixels else _content(items[i]), size, fit, channels)
  if decoded.bad:
    raise UserError(f'{where}: {len(decoded.bad)} cannot be read: {"; ".join(decoded.bad[:10])}.')
  return decoded.images, (*notes, *decoded.notes)


_ENCODED = (str, Path, bytes, dict, Image.Image)


def _array(images: Any, where: str) -> np.ndarray:
  """Returns images as an array; raises UserError if their shapes differ."""
  try:
    array = np.asarray(images)
  except ValueError as error:
    raise UserError(f'{where}: of different shapes; expected one array [N, H, W, C] or [N, H, W].') from error
  if array.dtype == object and array.size and all(isinstance(item, np.ndarray | list) for item in array.flat):
    return _array(array.tolist(), where)  # an array of arrays
  return array


def _row(array: np.ndarray, where: str) -> np.ndarray:
  """Returns one image as a batch [1, H, W, C]."""
  if array.ndim not in (2, 3):
    raise UserError(f'{where}: found shape {array.shape}; expected an image [H, W, C] or [H, W].')
  return array[None] if array.ndim == 3 else array[None, ..., None]


def _channels_last(array: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
  """Returns images as [N, H, W, C] with C = 1, 3 or 4, and notes on what was changed."""
  shape = array.shape
  if array.ndim == 3 and shape[-1] == 3:
    raise UserError(f'{where}: found shape {shape}; expected [N, H, W, C] or [N, H, W]. One image is images[None].')
  if array.ndim == 3:
    array = array[..., None]
  if array.ndim != 4:
    raise UserError(f'{where}: found shape {shape}; expected [N, H, W, C] or [N, H, W].{_unflatten(shape)}')
  if not array.size:
    raise UserError(f'{where}: found shape {shape}: there are no pixels.')
  last, first = shape[-1] if len(shape) == 4 else 1, array.shape[1]
  if last in (1, 3) or (last == 4 and first not in (1, 3)):
    return array, []
  if first in (1, 3, 4) and last > 4:
    array = np.ascontiguousarray(np.moveaxis(array, 1, -1))
    return array, [f'{where}: the shape {shape} has channels first; read with channels last, {array.shape}.']
  raise UserError(
    f'{where}: found shape {shape}; expected 1 or 3 channels (4: RGBA) in the last axis, [N, H, W, C], or [N, H, W].'
  )


def _unflatten(shape: tuple[int, ...]) -> str:
  """Returns advice on reshaping rows of pixels [N, P] to images, if P is the number of pixels of a square."""
  if len(shape) != 2:
    return ''
  side = {int((shape[1] / c) ** 0.5): c for c in (3, 1) if int((shape[1] / c) ** 0.5) ** 2 * c == shape[1]}
  return ''.join(f' Rows of {shape[1]} pixels may be images.reshape(-1, {s}, {s}, {c}).' for s, c in side.items() if s)


def _eight_bits(
  batches: list[np.ndarray], where: str, rows: Sequence[int] | None = None
) -> tuple[list[np.ndarray], list[str]]:
  """Returns batches [n, …] as uint8, all interpreted in the same way, and notes on what was changed.

  Args:
    batches: batches of images.
    where: name of the images in messages.
    rows: row number of the first image of each batch, for messages; None: the batches follow one another from 0.
  """
  notes = [f'{where}: bool; True is taken as 255.'] if any(b.dtype.kind == 'b' for b in batches) else []
  batches = [b.astype(np.uint8) * 255 if b.dtype.kind == 'b' else b for b in batches]
  dtype = np.result_type(*batches)
  if dtype == np.uint8:
    return batches, notes
  if dtype.kind not in 'iuf':
    raise UserError(f'{where}: have type {dtype}; expected numbers from 0 to 255.')
  starts = np.cumsum([0, *map(len, batches)]) if rows is None else rows

  def first(wrong: Callable[[np.ndarray], np.ndarray]) -> str:
    found = next((s, bad) for s, b in zip(starts, batches) if (bad := wrong(b).reshape(len(b), -1).any(1)).any())
    return f'row {found[0] + int(found[1].argmax())} (from 0)'

  if dtype.kind == 'f' and not all(np.isfinite(batch).all() for batch in batches):
    raise UserError(f'{where}: {first(lambda b: ~np.isfinite(b))} is not finite (NaN or inf); expected 0 to 255.')
  low, high = float(min(b.min() for b in batches)), float(max(b.max() for b in batches))
  if low < 0 or high > (65535 if dtype == np.uint16 else 255.5):  # 255.3 is a resize's overshoot
    row = first((lambda b: b < 0) if low < 0 else (lambda b: b > 255))
    raise UserError(
      f'{where}: found values in [{low:g}, {high:g}], expected 0 to 255 (the first is of {row}).'
      f'{_hint(low, high, dtype)}'
    )
  if 0 < (top := max((float(b.max()) for b in batches if b.dtype.kind == 'f'), default=0.0)) <= 1:
    raise UserError(
      f'{where}: floats in [{low:g}, {top:g}]: they seem to be divided by 255; expected values from 0 to 255 '
      '(images * 255).'
    )
  if dtype == np.uint16 and high > 255:
    bits = 12 if high <= 4095 else 16
    top = 2**bits - 1
    scaled = [
      b if b.dtype == np.uint8 else ((b.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8) for b in batches
    ]
    notes.append(f'{where}: {dtype} up to {high:g} is read as {bits} bits a pixel; 0..{top} became 0..255.')
    return scaled, notes
  if dtype.kind == 'f' and not all((b == np.rint(b)).all() for b in batches):
    notes.append(f'{where}: floats were rounded to whole numbers.')
  return [np.rint(b).clip(0, 255).astype(np.uint8) for b in batches], notes


def _hint(low: float, high: float, dtype: np.dtype) -> str:
  """Returns advice for pixel values outside 0..255."""
  if low < 0 and high <= 1 and low >= -1:
    return ' If they were scaled to -1..1: images * 127.5 + 127.5.'
  if low < 0 and high < 20:
    return ' If a mean was subtracted, pass the images as they were before.'
  if low >= 0 and high <= 65535 and dtype.kind in 'iu':
    return ' If they have 12 or 16 bits a pixel: images.astype(np.uint16).'
  return ''


def _on_white(array: np.ndarray) -> np.ndarray:
  """Composes RGBA, uint8 [..., 4], over white and returns RGB [..., 3]."""
  colour, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
  return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _colour(batch: np.ndarray) -> np.ndarray:
  """Returns one image [1, H, W, C] as RGB [H, W, 3]."""
  image = _on_white(batch[0]) if batch.shape[-1] == 4 else batch[0]
  return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _name(item: Any, i: int) -> str:
  """Returns the name of an item for messages: its path, or its row number."""
  if isinstance(item, dict):
    item = item.get('path')
  return reading.short(item) if isinstance(item, str | Path) else f'row {i} (from 0)'


def _content(item: Any) -> bytes | Image.Image:
  if isinstance(item, dict):
    item = _recorded(item)
  return storage.read_bytes(reading.path_of(item)) if isinstance(item, str | Path) else item


def _recorded(item: Mapping[str, Any]) -> Any:
  """Returns the image of a record as Hugging Face's datasets stores one."""
  found = item.get('path') if item.get('bytes') is None else item['bytes']
  if found is None:
    raise UserError(f"a record of {listed(map(repr, item))}; expected 'bytes' or 'path'.")
  return found
