"""Images and labels from Python objects: arrays, paths, PIL images, data frames and Hugging Face data sets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import decode, files, label_file, origin, pixels
from noisyjax.system.errors import UserError, listed


def images_of(images: Any, size: int = 0, channels: int = 3, where: str = 'images') -> tuple[Any, Sequence[str]]:
  """Returns images as uint8 [N, H, W, C], and notes for the user.

  Args:
    images: an array of images of one size, or the `Images` of a pack, which are kept; the path of a folder, zip or tar
      (its images are sorted by name); or an iterable of paths, PIL images or arrays of mixed sizes, which are cropped
      to squares.
    size: side of the squares in pixels; 0: the median short side, at most `origin.LARGEST`.
    channels: channels of cropped images, 3 or 1.
    where: name of the images in messages.

  Raises:
    UserError: images cannot be read, or their values or shapes are wrong.
  """
  if isinstance(images, str | Path):
    with files.open_images(images) as found:
      decoded = found.decoded(size or origin.usual_side(found, 'crop'), 'crop', channels)
      decode.check_bad(decoded.bad, False, str(images), 'a list of the paths of the others')
      return decoded.images, found.notes
  if not getattr(images, 'resident', True) or (
    hasattr(images, '__array__') and np.asarray(images).dtype.kind not in 'OUST'  # not an array of paths
  ):
    return pixels.normalised(images, where)
  try:
    items = list(images)
  except TypeError:
    raise UserError(
      f'{where}: is of type {type(images).__name__}; expected a list or array of images, or the path of a folder.'
    ) from None
  shapes = {np.shape(item) if isinstance(item, np.ndarray | list | tuple) else None for item in items}
  if len(shapes) == 1 and None not in shapes:
    return pixels.normalised(items, where)
  if not size:
    seen = origin.of(origin.some(items))
    size = min(origin.LARGEST, seen.sides[1]) if seen else origin.LARGEST
  return pixels.gathered(items, size, 'crop', channels, where)


def is_table(values: Any) -> bool:
  """Returns whether `values` has named columns: a data frame, a pyarrow table or a Hugging Face data set."""
  return hasattr(values, 'column_names') or (hasattr(values, 'columns') and not callable(values.columns))


def columns_of(table: Any, labels: Any) -> tuple[Any, Any, tuple[str, ...]]:
  """Splits a table with an image column into images and labels.

  Args:
    table: a table, see `is_table`.
    labels: name of the label column; None finds it by its name; any other value is taken as the labels themselves.

  Returns:
    The images, the labels, and the class names that the table declares (Hugging Face's ClassLabel), or ().

  Raises:
    UserError: the image or label column cannot be identified; the message lists the columns.
  """
  names = list(map(str, getattr(table, 'column_names', None) or table.columns))
  features = getattr(table, 'features', None) or {}
  pictures = [name for name in names if type(features.get(name)).__name__ == 'Image']
  image = _first(pictures or names, label_file.names_images if not pictures else bool, 'image', names)
  if labels is None:
    labels = _first(names, label_file.names_labels, 'label', names)
  declared = ()
  if isinstance(labels, str):
    if labels not in names:
      raise UserError(f'labels: there is no column {labels!r}; expected one of {listed(names)}.')
    declared = tuple(getattr(features.get(labels), 'names', None) or ())
    labels = _column(table, labels)
  return _column(table, image), labels, declared


def _first(names: Sequence[str], fits: Callable[[str], Any], what: str, all_names: Sequence[str]) -> str:
  """Returns the first name that fits; raises UserError if there is none."""
  found = next((name for name in names if fits(name)), None)
  if found is None:
    raise UserError(
      f'images: cannot tell which column holds the {what}; the columns are {listed(all_names)}. Pass the column itself.'
    )
  return found


def _column(table: Any, name: str) -> Any:
  """Returns the values of a column; those of a pyarrow column as a list."""
  column = table[name]
  return column.to_pylist() if hasattr(column, 'to_pylist') else column
