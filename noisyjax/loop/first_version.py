"""The first version of a label table, of a data set as its source gives it, and rows that join it later."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.defaults import get_config
from noisyjax.config.override import override
from noisyjax.data import on_table, prepare
from noisyjax.data.dataset import Dataset, duplicate_groups
from noisyjax.data.row_ids import row_ids
from noisyjax.system.errors import UserError, listed
from noisyjax.system.log import log
from noisyjax.tables import rows, store, versions


def of_config(config: ConfigDict, folder: str | Path, author: str, found: prepare.Loaded | None = None) -> store.Table:
  """Makes a table of the data that a recipe trains on: its labels (noisy, where it injects noise) and its split.

  Args:
    config: `data` and `noise` are read. Rows of no part are no rows of the table.
    folder: of the table; made if missing.
    author: "person:NAME".
    found: what `prepare.load` returned for this config; None: it is loaded.

  Raises:
    UserError: for anything wrong with the data, or a folder that holds a table already.
  """
  on_table.refuse(config.data, 'table init')
  loaded, truth, _, source = found or prepare.load(config)
  data, parts, *_ = prepare.divided(loaded, truth, source, config)
  split = np.repeat([rows.TRAIN, rows.VAL, rows.TEST], [len(parts.train), len(parts.val), len(parts.test)])
  made = _rows(data, row_ids(data), np.concatenate([parts.train, parts.val, parts.test]), split)
  return store.create(folder, made, data.classes, author, _source(config, data.root))


def joined(table: store.Table, config: ConfigDict, author: str, message: str) -> versions.Version:
  """Makes a version of a table with the images that its data set has gained: as training rows, labeled as given.

  Rows that `data.val` and `data.test` name, other than as a fraction, are passed over: they were chosen for version 0.
  So are exact copies of the table's validation and test images.

  Args:
    table: the table, on the branch that gains the rows.
    config: as of `of_config`; the whole data set, the table's own images among them.
    author: "person:NAME".
    message: why.

  Raises:
    UserError: there is no new image, an image of the table is gone, or the classes are others.
  """
  on_table.refuse(config.data, 'table add')
  config = config.copy_and_resolve_references()
  for field in ('val', 'test'):
    if re.fullmatch(r'0?\.\d+', config.data[field].strip()):
      config.data[field] = ''
  config.data.labeled, config.data.trusted = 0, 0.0
  loaded, truth, _, source = prepare.load(config)
  data, parts, *_ = prepare.divided(loaded, truth, source, config)
  if list(data.classes) != table.classes:
    raise UserError(
      f'table add: the data have the classes {listed(data.classes)}; expected those of the table, '
      f'{listed(table.classes)}: set data.classes.'
    )
  places = on_table.places_of(table.rows, data)
  if gone := np.setdiff1d(np.arange(len(table.rows)), places).tolist():
    raise UserError(
      f'table add: {len(gone):,} images of the table are not among the data, such as {table.rows.name[gone[0]]!r}; '
      'expected the whole data set, with the new images in it.'
    )
  new = parts.train[places[parts.train] < 0]
  if not len(new):
    raise UserError(f'table add: all {len(parts.train):,} training images are in the table already.')
  images = duplicate_groups(data.ids)
  closed = (places >= 0) & (table.rows.split[places] != rows.TRAIN)
  copied = np.isin(images[new], images[closed])
  if count := int(copied.sum()):
    found = f'{count:,} new images are exact copies of validation or test images, such as {data.names[new[copied][0]]}'
    if count == len(new):
      raise UserError(f'table add: {found}; expected others, to train on.')
    log.warning('table add: %s; they stay out.', found)
  return table.add(_rows(data, row_ids(data), new[~copied], np.full(len(new) - count, rows.TRAIN)), message, author)


def _rows(data: Dataset, ids: np.ndarray, used: np.ndarray, split: np.ndarray) -> rows.Rows:
  """Returns some rows of a data set as rows of a table.

  Args:
    data: N rows.
    ids: of the rows [N].
    used: which of them, int [n].
    split: int [n], indices into `rows.SPLITS`.
  """
  return rows.first(
    ids[used],
    data.names[used],
    data.given[used],
    data.classes,
    verified=data.verified[used],
    split=split,
    digests=data.ids[used],
  )


def of_files(images: str, labels: str, folder: str | Path, author: str, fields: Mapping[str, Any]) -> store.Table:
  """Makes a table of image files: all rows train, except those that class folders declare their own val and test.

  Args:
    images: a folder, zip or tar.
    labels: a label file; '': the class folders of the images are their labels.
    folder: of the table; made if missing.
    author: "person:NAME".
    fields: of the config, such as 'data.label_column'.

  Raises:
    UserError: as `of_config` does.
  """
  return of_config(files_config(images, labels, fields), folder, author)


def files_config(images: str, labels: str, fields: Mapping[str, Any]) -> ConfigDict:
  """Returns the config of image files; arguments as of `of_files`."""
  config = get_config()
  own = {
    'data.source': 'images' if labels else 'folders',
    'data.path': images,
    'data.labels': labels,
    'data.verified': '',
    'data.fit': 'crop',
    'data.val': '',
    'data.test': '',
    'data.test_labels': 'given',
  }
  override(config, own | dict(fields), 'table init')
  if not labels:
    found, _ = prepare.load(config)[:2]
    config.data.val = 'source' if found.val.any() else ''
    config.data.test = 'source' if found.test.any() else ''
  return config


def _source(config: ConfigDict, root: str) -> dict[str, Any]:
  """Returns what a table records of where its rows come from; `images` is the folder or zip that names lie in."""
  told = ('source', 'path', 'name', 'labels', 'verified', 'train', 'val', 'test', 'trusted', 'seed')
  noise = config.noise.to_dict() if config.noise.kind != 'none' else {'kind': 'none'}
  return {'images': root, 'data': {name: config.data[name] for name in told}, 'noise': noise}
