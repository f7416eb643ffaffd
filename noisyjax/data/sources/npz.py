"""An .npz file of arrays.

Keys: `images` [N, H, W, C] or [N, H, W], of any type that `data.pixels.normalised` takes; `labels` (given); optional
`verified` and `true` (int [N], -1 = none), `classes` (C names), `names` (N names), `test` (bool [N], the source's own
test part).
"""

import zipfile
from pathlib import Path

import numpy as np

from noisyjax.data import dataset, pixels
from noisyjax.errors import UserError

OPTIONAL = ('verified', 'true', 'classes', 'names', 'test')


def load(config) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads `config.path`; `config.classes` goes before the file's own names.

  Raises:
    UserError: naming the file and key of what is missing or malformed.
  """
  path = Path(config.path).expanduser()
  arrays = _read(path)
  images, notes = pixels.normalised(arrays['images'], f'{path}: images')
  count = len(images)
  labels = {key: arrays[key] for key in ('labels', 'verified', 'true') if key in arrays}
  classes = tuple(config.classes) or tuple(str(c) for c in arrays.get('classes', ())) or _numbered(labels, count)
  labels = {key: dataset.labels_of(v, count, len(classes), f'{path}: {key}') for key, v in labels.items()}
  for key in ('names', 'test'):
    if key in arrays and arrays[key].shape != (count,):
      raise UserError(f'{path}: {key} has shape {arrays[key].shape}; expected one entry for each of {count} images.')
  made = dataset.make(
    images,
    labels['labels'],
    classes,
    verified=labels.get('verified'),
    names=arrays['names'].astype(str).tolist() if 'names' in arrays else None,
    test=arrays.get('test'),
    notes=notes,
  )
  return made, labels.get('true', np.full(count, -1, np.int32))


def _read(path: Path) -> dict[str, np.ndarray]:
  try:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise UserError(f'{path}: is a single array; expected an .npz file with the keys images and labels.')
    with file:
      missing = [key for key in ('images', 'labels') if key not in file.files]
      if missing:
        raise UserError(f'{path}: has no key {missing[0]!r}; its keys are {", ".join(file.files) or "none"}.')
      return {key: file[key] for key in ('images', 'labels', *OPTIONAL) if key in file.files}
  except FileNotFoundError:
    raise UserError(f'data.path: there is no file {str(path)!r}.') from None
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f'{path}: cannot be read as .npz ({error}). Is the file complete?') from error


def _numbered(labels: dict[str, np.ndarray], count: int) -> tuple[str, ...]:
  """Returns '0'..'C-1' for the largest given or verified label; each class needs a row, so C is at most `count`."""
  numbers = [v for key, v in labels.items() if key != 'true' and v.dtype.kind in 'iuf']
  largest = max((np.minimum(v[v >= 0], count - 1).max(initial=-1) for v in numbers), default=-1)
  return tuple(str(c) for c in range(int(largest) + 1))
