"""Image files whose labels and parts a published data set lists: rows of the source clothing1m and others."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, decode, files, origin, published
from noisyjax.system import reading
from noisyjax.system.errors import UserError


class Row(NamedTuple):
  """An image and its labels.

  Attributes:
    image: name of the file below the folder of the data set.
    given: given label; -1 = none.
    verified: verified label; -1 = not verified.
    true: true label, for the audit; -1 = unknown.
    part: 'train', 'val' or 'test'.
  """

  image: str
  given: int
  verified: int = -1
  true: int = -1
  part: str = 'train'


def folder(config: ConfigDict, marks: published.Marks) -> Path:
  """Returns the folder of the data set, which is `config.path` or alone in it.

  Args:
    config: `config.data`.
    marks: its layout.

  Raises:
    UserError: there is no such folder.
  """
  path = reading.path_of(config.path, 'data.path')
  if reading.kind(path) != 'folder':
    raise UserError(f'data.path: there is no folder {str(path)!r}.{reading.near(path)} Expected an unpacked data set.')
  return published.top(path, marks)


def load(
  root: Path, rows_of: Callable[[Sequence[str]], Sequence[Row]], classes: Sequence[str], config: ConfigDict
) -> tuple[dataset.Dataset, np.ndarray]:
  """Decodes the images of the rows.

  Args:
    root: folder or archive of the images.
    rows_of: returns the rows, from the names of all images below the root; a row may name an image that is missing.
    classes: C class names; `config.classes` takes precedence.
    config: `config.data`: classes, size, fit, channels, cache, skip_bad.

  Returns:
    The data set in the order of the rows, and the true labels, int32 [N]; -1 = unknown.

  Raises:
    UserError: images are missing or unreadable and `config.skip_bad` is off.
  """
  with files.open_images(root) as found:
    rows, there = rows_of(found.names), set(found.names)
    missing = [f'{row.image}: missing' for row in rows if row.image not in there]
    rows = [row for row in rows if row.image in there]
    taken = found.take([row.image for row in rows])
    size = config.size or origin.usual_side(taken.read, taken.names, config.fit)
    decoded = taken.decoded(size, config.fit, config.channels, config.cache)
    left_out = decode.check_bad([*missing, *decoded.bad], config.skip_bad, str(root))
  rows = [rows[i] for i in decoded.good]
  labels = {field: np.array([getattr(row, field) for row in rows], np.int32) for field in ('given', 'verified', 'true')}
  parts = np.array([row.part for row in rows])
  made = dataset.make(
    decoded.images,
    labels['given'],
    tuple(config.classes) or classes,
    verified=labels['verified'],
    names=[row.image for row in rows],
    test=parts == 'test',
    val=parts == 'val',
    digests=decoded.digests,
    notes=[*found.notes, *decoded.notes, *left_out],
    root=root,
  )
  return made, labels['true']
