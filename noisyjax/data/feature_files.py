"""Features as files: of a folder of images, written; and anybody's, read.

A file that is written holds `features` float16 [N, F] (or [N, V, F] with views), `ids` and `names` [N], and what made
them: `model`, `weights` (sha256) and `trained_on`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from noisyjax.data import dataset, decode, files, match
from noisyjax.data.column import Column, label_text, number
from noisyjax.data.features import extract, extractor
from noisyjax.system import parquet, reading, storage
from noisyjax.system.errors import UserError, listed

KEYS = ('features', 'embeddings', 'embedding', 'x', 'X')  # under which files keep features, in order of preference

FORMATS = ('.npz', '.npy', '.parquet')  # suffixes of files of features


def is_one(path: str | Path) -> bool:
  """Returns whether a path is that of a file of features, by its suffix."""
  return Path(path).suffix.lower() in FORMATS and not Path(path).is_dir()


def write(
  images: str | Path, out: Path, model: str, views: int = 0, skip_bad: bool = False, use_cache: bool = True
) -> tuple[int, ...]:
  """Writes the features of a folder, zip or tar of images, in the order of their names; returns their shape.

  Args:
    images: folder or archive.
    out: the .npz to write.
    model: as `extractor` takes it.
    views: augmented views of each image, beside the image itself.
    skip_bad: whether images that cannot be read are left out.
    use_cache: whether the cache is read and written.

  Raises:
    UserError: images that cannot be read; no such model or weights; `out` cannot be written.
  """
  by = extractor(model, views, '--model')
  if out.suffix.lower() != '.npz' or out.is_dir():
    raise UserError(f'--out: found {out}; expected a file that ends in .npz.')
  storage.make_folder(out.parent)  # rather than fail when all is computed
  with files.open_images(images) as found:
    decoded = found.decoded(by.weights.size, 'crop', 3, use_cache)
    decode.check_bad(decoded.bad, skip_bad, str(images))
    names = [found.names[i] for i in decoded.good]
  rows = extract(decoded.images, by, use_cache)[:, :, 0]  # [N, V, F]
  rows = rows if views else rows[:, 0]
  texts = {'model': by.name, 'weights': by.weights.sha256, 'trained_on': by.weights.data}
  columns = {'features': rows, 'ids': dataset.unique_ids(decoded.digests), 'names': np.array(names)}
  storage.write_npz(out, columns | {name: np.array(text) for name, text in texts.items()})
  return rows.shape


def read(path: Path) -> dict[str, np.ndarray]:
  """Returns the columns of an .npz, .npy or Parquet file of features.

  'features' is float [N, V, 1, F] among them; 'names', where there are any, text [N]; 'trained_on' one text.

  Raises:
    UserError: a damaged file, none of KEYS in it, features that are no finite numbers [N, F] or [N, V, F], or names
      that are not one for each row.
  """
  columns = _columns(path)
  key = next((key for key in KEYS if key in columns), None)
  if key is None:
    raise UserError(f'{path}: holds {listed(columns)}; expected features [N, F] under one of: {listed(KEYS)}.')
  features = columns.pop(key)
  if features.dtype == object:  # a column of lists
    with reading.reading(path, 'features', 'Have all rows as many numbers?'):
      features = np.array(features.tolist(), np.float32)
  if features.dtype.kind not in 'fiu' or features.ndim not in (2, 3) or features.shape[-1] < 2 or not features.size:
    raise UserError(f'{path}: {key} is {features.dtype} {features.shape}; expected numbers [N, F] or [N, V, F].')
  with np.errstate(over='ignore'):
    features = features if features.dtype == np.float16 else features.astype(np.float32)
  wrong = np.flatnonzero(~np.isfinite(features).reshape(len(features), -1).all(1))
  if len(wrong):
    raise UserError(f'{path}: row {wrong[0]} (from 0) of {key} is not finite ({len(wrong)} such rows).')
  views = features[:, None] if features.ndim == 2 else features
  columns['features'] = views[:, :, None]
  if 'names' in columns:
    columns['names'] = _names(path, columns['names'], len(views))
  if 'trained_on' in columns:  # a column of Parquet repeats it
    texts = dict.fromkeys(label_text(cell, f'{path}: trained_on', '') for cell in columns['trained_on'].ravel())
    columns['trained_on'] = np.array(', '.join(text for text in texts if text))
  return columns


def _names(path: Path, names: np.ndarray, count: int) -> np.ndarray:
  """Returns the names of the rows as text [N]."""
  if names.shape != (count,):
    raise UserError(f'{path}: names has shape {names.shape}; expected one for each of {count} rows of features.')
  texts = [label_text(name, f'{path}: names', f'row {i} (from 0)') for i, name in enumerate(names.tolist())]
  if None in texts:
    raise UserError(f'{path}: row {texts.index(None)} (from 0) of names is empty; expected a name for each row.')
  return np.array(texts)


def aligned(column: Column, columns: Mapping[str, np.ndarray], path: Path) -> Column:
  """Returns labels from a label file in the order of the rows of features.

  Args:
    column: labels; they name the rows, or follow their order.
    columns: what `read` returned.
    path: the file of features, for messages.

  Raises:
    UserError: the labels do not name their rows and are not as many; the rows have no names, and the labels name what
      is no row number; also as `match.rows_of`.
  """
  count = len(columns['features'])
  if column.images is None:
    if len(column.labels) != count:
      raise UserError(f'{column.where}: has {len(column.labels)} labels for {count} rows of features.')
    return column
  if 'names' in columns:
    return match.aligned(column, columns['names'].tolist(), path)
  numbers = [str(i) for i in range(count)]
  known = {*numbers}
  images = [number(image) or image for image in column.images]
  wrong = next((row for row, image in enumerate(images) if image not in known), None)
  if wrong is not None:
    raise UserError(
      f'{column.where}: {column.places[wrong]} names {column.images[wrong]!r}, and the rows of {path} have no names; '
      f'expected row numbers 0 to {count - 1}, or an array names in that file.'
    )
  return match.aligned(column._replace(images=images), numbers, path)


def _columns(path: Path) -> dict[str, np.ndarray]:
  suffix = path.suffix.lower()
  if suffix == '.parquet':
    with parquet.opened(path) as file:
      table = file.read(use_threads=False)
      return {name: table[name].to_numpy() for name in table.column_names}
  with reading.reading(path, 'an .npz or .npy of features'):
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
      return {'features': found}
    with found:
      return {key: found[key] for key in found.files}
