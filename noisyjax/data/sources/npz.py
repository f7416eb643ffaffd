"""An .npz file of arrays.

Keys:
  images: [N, H, W, C] or [N, H, W], of any type that `data.pixels.normalised` accepts.
  labels: given labels [N], of any type that `data.column.column_of` accepts.
  verified: optional, verified labels [N]; None, NaN or -1 = not verified.
  true: optional, true labels [N]; None, NaN or -1 = unknown.
  classes: optional, C class names.
  names: optional, N image names.
  test: optional, bool [N], the test rows of the data set.

A file may instead hold its parts separately, as Keras (`x_train`, `y_train`, `x_test`, …) and MedMNIST (`train_images`,
`train_labels`, `val_images`, …) store them.
"""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, labels, pixels, table
from noisyjax.data.column import column_of, label_text
from noisyjax.data.label_notes import missing_note
from noisyjax.system import reading
from noisyjax.system.errors import UserError, listed

OPTIONAL = ('verified', 'true', 'classes', 'names', 'test')
PAIRS = (
  ('images', 'labels'),
  ('x', 'y'),
  ('X', 'y'),
  ('data', 'labels'),
  ('data', 'target'),
  ('image', 'label'),
  ('images', 'targets'),
  ('images', 'y'),
)
PARTS = {'train': ('train',), 'val': ('val', 'valid', 'validation'), 'test': ('test',)}


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the file `config.path`; `config.classes` takes precedence over the class names in the file.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: a key is missing or malformed; the message names the file and the key.
  """
  path = reading.file_of(config.path, 'data.path')
  arrays, notes = _read(path)
  images, seen = pixels.normalised(arrays['images'], f'{path}: images')
  count = len(images)
  columns = {key: column_of(arrays[key], f'{path}: {key}') for key in ('labels', 'verified', 'true') if key in arrays}
  for column in columns.values():
    if len(column.labels) != count:
      raise UserError(f'{column.where}: has {len(column.labels)} labels for {count} images; expected one per image.')
  legal = [column for key, column in columns.items() if key != 'true']  # true labels do not define the classes
  wanted = tuple(config.classes) or tuple(arrays.get('classes', np.zeros(0)).tolist())
  classes = labels.class_names(legal, config.unlabeled, wanted)
  values = {key: labels.indices(column, classes, config.unlabeled) for key, column in columns.items()}
  for key in ('names', 'test', 'val'):
    if key in arrays and arrays[key].shape != (count,):
      raise UserError(f'{path}: {key} has shape {arrays[key].shape}; expected one entry for each of {count} images.')
  names = arrays.get('names')
  made = dataset.make(
    images,
    values['labels'],
    classes,
    verified=values.get('verified'),
    names=None if names is None else [label_text(name, f'{path}: names', '') or '' for name in names.tolist()],
    test=arrays.get('test'),
    val=arrays.get('val'),
    notes=[*notes, *seen, *missing_note(columns['labels'], config.unlabeled)],
  )
  return made, values.get('true', np.full(count, -1, np.int32))


def _read(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
  """Returns the arrays under the keys of the module docstring, and notes on how they were found."""
  with reading.reading(path, '.npz'):
    with path.open('rb') as file:
      start = file.read(8)
    if table.is_pickle(start):
      raise UserError(
        f'{path}: is a pickle, like the batches of CIFAR; expected an .npz file. For those set data.source=cifar and '
        'data.path to their folder.'
      )
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
      raise UserError(f'{path}: is a single array; expected an .npz file with the keys images and labels.')
    with file:
      keys = _keys(path, file.files)
      arrays = {key: np.concatenate([file[k] for k in found]) for key, found in keys.items() if key != 'parts'}
      sizes = {part: len(file[key]) for part, key in zip(keys.get('parts', ()), keys['images'])}
  if len(sizes) > 1:
    which = np.repeat(list(sizes), list(sizes.values()))
    arrays |= {part: which == part for part in ('val', 'test') if part in sizes}
  notes = [f'{path.name}: {", ".join(f"{part} {n}" for part, n in sizes.items())} rows.'] if sizes else []
  return arrays, notes


def _keys(path: Path, found: list[str]) -> dict[str, list[str]]:
  """Returns, for each key of the module docstring, the keys of the file whose arrays form it.

  If the file holds its parts separately, a key has one entry per part, and 'parts' lists the names of the parts.
  """
  for images, labels_ in PAIRS:
    if images in found and labels_ in found:
      return {'images': [images], 'labels': [labels_]} | {key: [key] for key in OPTIONAL if key in found}
    parts = {
      part: pair
      for part, names in PARTS.items()
      for name in names
      for pair in ((f'{images}_{name}', f'{labels_}_{name}'), (f'{name}_{images}', f'{name}_{labels_}'))
      if {*pair} <= {*found}
    }
    if 'train' in parts:
      return {
        'images': [pair[0] for pair in parts.values()],
        'labels': [pair[1] for pair in parts.values()],
        'parts': list(parts),
      } | {key: [key] for key in ('classes',) if key in found}
  missing = [key for key in ('images', 'labels') if key not in found]
  raise UserError(
    f'{path}: has no key {missing[0]!r}; its keys are {listed(found) or "none"}. Expected the keys images and labels, '
    'or those of Keras (x_train, y_train, …) or MedMNIST (train_images, train_labels, …).'
  )
