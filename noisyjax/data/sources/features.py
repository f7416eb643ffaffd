"""Features of images, made by whatever network: an .npz, .npy or Parquet file.

Keys or columns: `features` [N, F] or [N, V, F] (also `embeddings`, `x`); optional, [N]: `labels`, `verified`, `true`
and `names`; `classes` as in the source npz; and `trained_on`, the training data of that network, which results report.
What the file does not hold, `config.labels`, `config.verified` and `config.truth` name: label files whose rows name the
rows of features, by `names` or by their number from 0, or follow their order.
"""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, feature_files, label_file, labels
from noisyjax.data.column import column_of
from noisyjax.data.label_notes import position_note
from noisyjax.data.unlisted import left_out
from noisyjax.system import reading
from noisyjax.system.errors import UserError

FIELDS = {'labels': 'labels', 'verified': 'verified', 'true': 'truth'}  # column → field that names a file of them


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the file `config.path`; `config.classes` takes precedence over the class names in the file.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: features or labels are missing or malformed; the message names the file.
  """
  path = reading.file_of(config.path, 'data.path')
  arrays = feature_files.read(path)
  count, notes = len(arrays['features']), []
  columns = {key: column_of(arrays[key], f'{path}: {key}') for key in FIELDS if key in arrays}
  for column in columns.values():
    if len(column.labels) != count:
      raise UserError(f'{column.where}: has {len(column.labels)} labels for {count} rows of features.')
  complete = 'labels' in columns
  for key, field in FIELDS.items():
    beside = _beside(path, config[field])
    there = bool(config[field]) and bool(reading.kind(beside))
    if key in columns and there:
      notes.append(f'data.{field}: {config[field]} is ignored: {path.name} has {key} of its own.')
    elif key not in columns and (there or (config[field] and (not complete or key == 'true'))):
      found = label_file.read_column(beside, config.image_column, config.label_column, field)
      columns[key] = feature_files.aligned(found, arrays, path)
  if 'labels' not in columns:
    raise UserError(f'{path}: has no labels; expected a column labels in it, or data.labels.')
  legal = [column for key, column in columns.items() if key != 'true']  # true labels do not define the classes
  wanted = tuple(config.classes) or tuple(np.asarray(arrays.get('classes', ())).ravel().tolist())
  classes = labels.class_names(legal, config.unlabeled, wanted)
  skipped, missing = left_out(columns['labels'], config, 'rows of features')
  kept = np.setdiff1d(np.arange(count), list(skipped)).astype(np.int64)
  values = {key: labels.indices(column, classes, config.unlabeled)[kept] for key, column in columns.items()}
  read = [note for column in legal for note in (*column.notes, *position_note(column, classes))]
  made = dataset.make(
    arrays['features'][kept] if skipped else arrays['features'],
    values['labels'],
    classes,
    verified=values.get('verified'),
    names=arrays['names'][kept].tolist() if 'names' in arrays else [str(row) for row in kept],
    notes=[*notes, *read, *missing],
  )
  made = dataclasses.replace(made, pretrained=str(arrays.get('trained_on', path.name)))
  return made, values.get('true', np.full(len(kept), -1, np.int32))


def _beside(path: Path, text: str) -> Path:
  """Returns the path of a label file: in the folder of the features, or else a path of its own."""
  own = reading.path_of(text)
  inside = path.parent / own
  return inside if reading.kind(inside) else own
