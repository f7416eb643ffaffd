"""Features as files: of a folder of images, written; and anybody's, read.

A file that is written holds `features` float16 [N, F] (or [N, V, F] with views), `ids` and `names` [N], and what made
them: `model`, `weights` (sha256) and `trained_on`.
"""

import io
from pathlib import Path

import numpy as np

from noisyjax.data import dataset, decode, files
from noisyjax.data.features import extract, extractor
from noisyjax.system import reading, storage
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
  buffer = io.BytesIO()
  np.savez(
    buffer,
    features=rows if views else rows[:, 0],
    ids=dataset.unique_ids(decoded.digests),
    names=np.array(names),
    model=np.array(by.name),
    weights=np.array(by.weights.sha256),
    trained_on=np.array(by.weights.data),
  )
  storage.write_bytes(out, buffer.getvalue())
  return rows.shape if views else rows[:, 0].shape


def read(path: Path) -> dict[str, np.ndarray]:
  """Returns the columns of an .npz, .npy or Parquet file of features; 'features' is float [N, V, 1, F] among them.

  Raises:
    UserError: a damaged file, none of KEYS in it, or features that are no finite numbers [N, F] or [N, V, F].
  """
  columns = _columns(path)
  key = next((key for key in KEYS if key in columns), None)
  if key is None:
    raise UserError(f'{path}: holds {listed(columns)}; expected features [N, F] under one of: {listed(KEYS)}.')
  features = columns.pop(key)
  if features.dtype == object:  # a column of lists
    with reading.reading(path, 'features', 'Have all rows as many numbers?'):
      features = np.array(features.tolist(), np.float32)
  if features.dtype.kind not in 'fiu' or features.ndim not in (2, 3) or features.shape[-1] < 2:
    raise UserError(f'{path}: {key} is {features.dtype} {features.shape}; expected numbers [N, F] or [N, V, F].')
  features = features if features.dtype == np.float16 else features.astype(np.float32)
  wrong = np.flatnonzero(~np.isfinite(features).reshape(len(features), -1).all(1))
  if len(wrong):
    raise UserError(f'{path}: row {wrong[0]} (from 0) of {key} is not finite ({len(wrong)} such rows).')
  views = features[:, None] if features.ndim == 2 else features
  return columns | {'features': views[:, :, None]}


def _columns(path: Path) -> dict[str, np.ndarray]:
  suffix = path.suffix.lower()
  if suffix == '.parquet':
    import pyarrow.parquet as pq  # half a second

    with reading.reading(path, 'Parquet'):
      table = pq.read_table(path)
      return {name: table[name].to_numpy() for name in table.column_names}
  with reading.reading(path, 'an .npz or .npy of features'):
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
      return {'features': found}
    with found:
      return {key: found[key] for key in found.files}
