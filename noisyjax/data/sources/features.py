"""Features of images, made by whatever network: an .npz, .npy or Parquet file.

Keys or columns: `features` [N, F] or [N, V, F] (also `embeddings`, `x`); optional, [N]: `labels`, `verified`, `true`
and `names`; `classes` as in the source npz; and `trained_on`, the training data of that network, which results report.
Where the file has no labels, `config.labels`, `config.verified` and `config.truth` name label files of as many rows, in
the same order.
"""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, feature_files, label_file, labels
from noisyjax.data.column import Column, column_of
from noisyjax.system import reading
from noisyjax.system.errors import UserError


def load(config: ConfigDict) -> tuple[dataset.Dataset, np.ndarray]:
  """Loads the file `config.path`; `config.classes` takes precedence over the class names in the file.

  Returns:
    The data set, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: features or labels are missing or malformed; the message names the file.
  """
  path = reading.file_of(config.path, 'data.path')
  arrays = feature_files.read(path)
  count = len(arrays['features'])
  columns = {key: column_of(arrays[key], f'{path}: {key}') for key in ('labels', 'verified', 'true') if key in arrays}
  if 'labels' not in columns:
    beside = {'labels': config.labels, 'verified': config.verified, 'true': config.truth}
    columns = {key: _beside(path, text, config) for key, text in beside.items() if text}
  if 'labels' not in columns:
    raise UserError(f'{path}: has no labels; expected a column labels in it, or data.labels.')
  for column in columns.values():
    if len(column.labels) != count:
      raise UserError(f'{column.where}: has {len(column.labels)} labels for {count} rows of features.')
  legal = [column for key, column in columns.items() if key != 'true']  # true labels do not define the classes
  wanted = tuple(config.classes) or tuple(np.asarray(arrays.get('classes', ())).tolist())
  classes = labels.class_names(legal, config.unlabeled, wanted)
  values = {key: labels.indices(column, classes, config.unlabeled) for key, column in columns.items()}
  made = dataset.make(
    arrays['features'],
    values['labels'],
    classes,
    verified=values.get('verified'),
    names=arrays['names'].tolist() if 'names' in arrays else None,
  )
  made = dataclasses.replace(made, pretrained=str(arrays.get('trained_on', path.name)))
  return made, values.get('true', np.full(count, -1, np.int32))


def _beside(path: Path, text: str, config: ConfigDict) -> Column:
  """Returns the labels of a file, inside the folder of the features or of a path of its own."""
  inside = path.parent / text
  return label_file.read_column(inside if inside.exists() else text, config.image_column, config.label_column)
