"""Images and labels from Python objects: arrays, paths, PIL images, data frames, and data sets in Python."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisyjax.data import column_names, decode, files, match, origin, pixels
from noisyjax.system.errors import UserError, listed


def images_of(images: Any, size: int = 0, channels: int = 3, where: str = 'images') -> tuple[Any, Sequence[str]]:
  """Returns images as uint8 [N, H, W, C], and notes for the user.

  Args:
    images: an array of images of one size, or the `Images` of a pack, which are kept; the path of a folder, zip or tar
      (its images are sorted by name); or an iterable of paths, open files, bytes, PIL images or arrays of mixed sizes,
      which are cropped to squares; or a table with a column of these, or the records or pairs of `tabled`.
    size: side of the squares in pixels; 0: the median short side, at most `origin.LARGEST`.
    channels: channels of cropped images, 3 or 1.
    where: name of the images in messages.

  Raises:
    UserError: images cannot be read, or their values or shapes are wrong.
  """
  images = tabled(images)
  if is_table(images):
    images = _image_column(images)
  if isinstance(images, str | Path):
    with files.open_images(images) as found:
      decoded = found.decoded(size or origin.usual_side(found.read, found.names, 'crop'), 'crop', channels)
      decode.check_bad(decoded.bad, False, str(images), 'a list of the paths of the others')
      other = match.other_order(found.names)
      order = f'{images}: the images are taken in the order of their names as text; {other}.'
      return decoded.images, (*found.notes, *([order] if other else []))
  if not getattr(images, 'resident', True) or (
    hasattr(images, '__array__') and np.asarray(images).dtype.kind not in 'OUST'  # not an array of paths
  ):
    return pixels.normalised(images, where)
  if hasattr(images, '__array__') and np.asarray(images).ndim == 2 and np.shape(images)[1] == 1:
    images = np.asarray(images)[:, 0]  # a column of paths
  try:
    items = list(images)
  except TypeError:
    raise UserError(
      f'{where}: is of type {type(images).__name__}; expected a list or array of images, or the path of a folder.'
    ) from None
  items = [_content(item) for item in items]
  shapes = {_shape(item, f'{where}: row {i} (from 0)') for i, item in enumerate(items)}
  if len(shapes) == 1 and None not in shapes:
    return pixels.normalised(items, where)
  if not size:
    seen = origin.of(origin.some(items))
    size = min(origin.LARGEST, seen.sides[1]) if seen else origin.LARGEST
  return pixels.gathered(items, size, 'crop', channels, where)


def _content(item: Any) -> Any:
  """Returns the bytes of an open file or a buffer; other items as they are."""
  if isinstance(item, io.IOBase):
    return item.read()
  return bytes(item) if isinstance(item, bytearray | memoryview) else item


def _shape(item: Any, where: str) -> tuple[int, ...] | None:
  """Returns the shape of an array or of nested lists; None for other items."""
  if not isinstance(item, np.ndarray | list | tuple):
    return None
  try:
    return np.shape(item)
  except ValueError:
    kinds = listed(type(part).__name__ for part in item)
    raise UserError(f'{where} is a {type(item).__name__} of {kinds}; expected an image.') from None


def tabled(values: Any) -> Any:
  """Returns the records of a data set as a table; other values as they are, but an iterator as a list.

  Records are dictionaries of the same keys, as Hugging Face's, or pairs (image, label), as data sets of torch and
  TensorFlow have them. A data set that has a length and numbered rows is read by their numbers.
  """
  if isinstance(values, str | bytes | Path) or is_table(values) or hasattr(values, '__array__'):
    return values
  if not getattr(values, 'resident', True):
    return values  # images of a pack
  by_number = hasattr(values, '__len__') and not hasattr(values, '__iter__')
  try:
    items = [values[i] for i in range(len(values))] if by_number else list(values)
  except TypeError:
    return values  # a class, or what cannot be walked
  kinds = {frozenset(item) if isinstance(item, Mapping) else frozenset() for item in items}
  keys = [*items[0]] if len(kinds) == 1 and kinds.pop() else []
  if 'bytes' not in keys and column_names.preferred(map(str, keys), column_names.IMAGES):
    return {key: [item[key] for item in items] for key in keys}
  if items and all(isinstance(item, tuple) and len(item) == 2 and _is_label(item[1]) for item in items):
    return {'image': [item[0] for item in items], 'label': [item[1] for item in items]}
  return items


def _is_label(value: Any) -> bool:
  """Returns whether a value is one label: text, a number or an array of one, None, …."""
  return getattr(value, 'ndim', 0) == 0 and not isinstance(value, list | tuple | Mapping | Image.Image)


def is_table(values: Any) -> bool:
  """Returns whether `values` has named columns: a data frame, pyarrow table, Hugging Face data set or dictionary."""
  if isinstance(values, Mapping) or hasattr(values, 'column_names'):
    return True
  return hasattr(values, 'columns') and not callable(values.columns)


def columns_of(table: Any, labels: Any, classes: Any = ()) -> tuple[Any, Any, tuple[str, ...]]:
  """Splits a table with an image column into images and labels.

  Args:
    table: a table, see `is_table`.
    labels: name of the label column; None finds it by its name; any other value is taken as the labels themselves.
    classes: the names of the classes that its labels number, as torchvision's data sets have them; other values = ().

  Returns:
    The images, the labels, and the class names: those that the table declares (Hugging Face's ClassLabel), `classes`,
    or (). Labels that number such classes are returned as their names.

  Raises:
    UserError: the image or label column cannot be identified; the message lists the columns.
  """
  names, features = _names(table), _features(table)
  image = _first(_pictures(table), 'image', names)
  if labels is None:
    labels = _first(column_names.preferred(names, column_names.GIVEN), 'label', names)
  declared = ()
  if isinstance(labels, str):
    if labels not in names:
      raise UserError(f'labels: there is no column {labels!r}; expected one of {listed(names)}.')
    declared = getattr(features.get(labels), 'names', None) or (classes if isinstance(classes, list | tuple) else ())
    declared = tuple(map(str, declared))
    labels = _column(table, labels)
    if declared:  # by name: the name of a class may be a number, and not its own
      labels = [declared[c] if isinstance(c, int | np.integer) and 0 <= c < len(declared) else c for c in labels]
  return _column(table, image), labels, declared


def _names(table: Any) -> list[str]:
  """Returns the names of the columns of a table; raises UserError for a dictionary of data sets."""
  if isinstance(table, Mapping) and any(map(is_table, table.values())):
    parts = listed(map(repr, table))
    raise UserError(f'images: is a dictionary of data sets, {parts}; expected one of them, such as images["train"].')
  names = list(table) if isinstance(table, Mapping) else getattr(table, 'column_names', None) or table.columns
  return list(map(str, names))


def _features(table: Any) -> Mapping[str, Any]:
  """Returns the types that a Hugging Face data set declares for its columns; {} for other tables."""
  found = None if isinstance(table, Mapping) else getattr(table, 'features', None)
  return found if isinstance(found, Mapping) else {}  # of a data frame, it may be a column


def _pictures(table: Any) -> list[str]:
  """Returns the names of the columns that hold images, the preferred one first."""
  names, features = _names(table), _features(table)
  declared = [name for name in names if type(features.get(name)).__name__ == 'Image']
  return declared or column_names.preferred(names, column_names.IMAGES)


def _image_column(table: Any) -> Any:
  """Returns the images of a table: the column of them, or its only one; a table of numbers is a table of pixels."""
  names = _names(table)
  found = _pictures(table) or (names if len(names) == 1 else [])
  if not found and hasattr(table, '__array__') and (pixels_ := np.asarray(table)).dtype.kind in 'biuf':
    return pixels_
  return _column(table, _first(found, 'image', names))


def _first(names: Sequence[str], what: str, all_names: Sequence[str]) -> str:
  """Returns the first name; raises UserError if there is none."""
  if not names:
    raise UserError(
      f'images: cannot tell which column holds the {what}; the columns are {listed(all_names)}. Pass the column itself.'
    )
  return names[0]


def _column(table: Any, name: str) -> Any:
  """Returns the values of a column; those of a pyarrow column as a list."""
  column = table[name]
  return column.to_pylist() if hasattr(column, 'to_pylist') else column
