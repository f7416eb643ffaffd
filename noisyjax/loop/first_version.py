"""The first version of a label table, of a data set as its source gives it: labels, checked labels and split."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from noisyjax.config.defaults import get_config
from noisyjax.config.override import override
from noisyjax.data import on_table, prepare
from noisyjax.data.row_ids import row_ids
from noisyjax.tables import rows, store


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
  used = np.concatenate([parts.train, parts.val, parts.test])
  made = rows.first(
    row_ids(data)[used],
    data.names[used],
    data.given[used],
    data.classes,
    verified=data.verified[used],
    split=np.repeat([rows.TRAIN, rows.VAL, rows.TEST], [len(parts.train), len(parts.val), len(parts.test)]),
    digests=data.ids[used],
  )
  return store.create(folder, made, data.classes, author, _source(config, data.root))


def of_files(images: str, labels: str, folder: str | Path, author: str, fields: Mapping[str, Any]) -> store.Table:
  """Makes a table of image files: all rows train, but for those that class folders declare their own val and test.

  Args:
    images: a folder, zip or tar.
    labels: a label file; '': the class folders of the images are their labels.
    folder: of the table; made if missing.
    author: "person:NAME".
    fields: of the config, such as 'data.label_column'.

  Raises:
    UserError: as `of_config` does.
  """
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
  return of_config(config, folder, author)


def _source(config: ConfigDict, root: str) -> dict[str, Any]:
  """Returns what a table records of where its rows come from; `images` is the folder or zip that names lie in."""
  told = ('source', 'path', 'name', 'labels', 'verified', 'train', 'val', 'test', 'trusted', 'seed')
  noise = config.noise.to_dict() if config.noise.kind != 'none' else {'kind': 'none'}
  return {'images': root, 'data': {name: config.data[name] for name in told}, 'noise': noise}
