"""Images and labels as people hold them in Python: arrays, paths, PIL images, data frames, Hugging Face data sets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noisyjax.data import decode, files, label_file, origin, pixels
from noisyjax.system.errors import UserError, listed


def images_of(images: Any, size: int = 0, channels: int = 3, where: str = 'images') -> tuple[np.ndarray, Sequence[str]]:
  """Returns images as uint8 [N, H, W, C], and notes for a person.

  Args:
    images: an array of one size, which keeps it; the path of a folder, zip or tar (in the sorted order of its names);
      or anything that holds paths, PIL images or arrays of mixed sizes, which are cropped to squares.
    size: side of these squares in pixels; 0: the median short side, at most `origin.LARGEST`.
    channels: of images that are cropped, 3 or 1. where: what messages call the images.

  Raises:
    UserError: naming the images that cannot be read, or the values or shapes that are wrong.
  """
  if isinstance(images, str | Path):
    with files.open_images(images) as found:
      decoded = found.decoded(size or origin.usual_side(found, 'crop'), 'crop', channels)
      decode.check_bad(decoded.bad, False, str(images), 'a list of the paths of the others')
      return decoded.images, found.notes
  if hasattr(images, '__array__') and np.asarray(images).dtype != object:
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
  """Parts a table with an image column into images and labels.

  Args:
    table: see `is_table`. labels: the name of its label column; None: by its name; anything else: the labels.

  Returns:
    The images, the labels, and the class names that the table declares for these (Hugging Face's ClassLabel), or ().

  Raises:
    UserError: listing the columns, where none is evidently the image or the label.
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
  found = next((name for name in names if fits(name)), None)
  if found is None:
    raise UserError(f'images: no column is evidently the {what}: {listed(all_names)}. Pass the column itself.')
  return found


def _column(table: Any, name: str) -> Any:
  column = table[name]
  return column.to_pylist() if hasattr(column, 'to_pylist') else column
