"""Training on a version of a label table, whose labels, weights, statuses and split replace those of the source.

The table's `label` becomes the given label of a row, and its `verified` the verified label. Its `split` replaces
`data.train`, `data.val`, `data.labeled` and `data.trusted`. Only where `data.val` names training rows of the table by a
file (`@file`), as a fold of a cross-validation does, these validate, and the table's own validation rows take no part,
nor do its training rows that a file in `data.train` leaves out. An empty `data.test` leaves the test rows of the table
closed; otherwise they are scored by the labels of the source, which a table never edits.
"""

from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import split
from noisyjax.data.dataset import Dataset
from noisyjax.data.row_ids import row_ids
from noisyjax.data.row_spec import parse
from noisyjax.system.errors import UserError, listed
from noisyjax.tables import refs
from noisyjax.tables.rows import LABELED, TEST, TRAIN, VAL, Rows

NONE = -1  # the part of a row that takes no part


class Placed(NamedTuple):
  """A data set with the labels of a run, and its split.

  Attributes:
    data: the data set; its labels are those of the label table, if the run has one.
    parts: training, validation and test rows.
    weight: float32 [n], weights of the training rows; None without a table.
    status: int8 [n], a `training.Status` per training row; None without a table.
    version: name of the table's version; '' without a table.
  """

  data: Dataset
  parts: split.Split
  weight: np.ndarray | None = None
  status: np.ndarray | None = None
  version: str = ''


def placed(data: Dataset, config: ConfigDict) -> Placed:
  """Applies the version that `config.table` names to a data set.

  Args:
    data: data set of the source.
    config: `config.data`.

  Raises:
    UserError: the version does not exist, the table has other images or classes, or a validation row has no label of
      the kind that scores it.
  """
  found = refs.opened(config.table)
  rows, places = found.rows, places_of(found.rows, data)
  there = places >= 0
  if gone := len(rows) - int(there.sum()):
    lost = rows.name[np.setdiff1d(np.arange(len(rows)), places[there])]
    hint = 'The table belongs to another data set.' if not there.any() else 'Restore these files.'
    raise UserError(
      f'data.table: {gone:,} of the {len(rows):,} rows of {config.table} are not among the {len(data.ids):,} images of '
      f'data.path, such as {listed(lost[:3])}. Expected all of them. {hint}'
    )
  if tuple(found.classes) != data.classes:
    raise UserError(
      f'data.table: {config.table} has the classes {listed(found.classes)}; the data have {listed(data.classes)}. '
      'Expected the same classes in the same order; set data.classes.'
    )
  part = np.where(there, rows.split[places], NONE)
  ours = there & (part != TEST)
  data = data.with_labels(
    given=np.where(ours, rows.label[places], data.given), verified=np.where(ours, rows.verified[places], data.verified)
  )
  if config.val.startswith('@'):
    listed_by = lambda field: np.isin(np.arange(len(part)), parse(f'data.{field}', config[field], data.ids, data.names))
    named = listed_by('val') & (part == TRAIN)
    if named.any():  # else the file is the one that the table was made with
      out = (part == VAL) | ((part == TRAIN) & (config.train.startswith('@') and ~listed_by('train')))
      part = np.where(named, VAL, np.where(out, NONE, part))
  train, test = np.flatnonzero(part == TRAIN), np.flatnonzero((part == TEST) & bool(config.test))
  val = np.flatnonzero((part == VAL) & (rows.status[places] == LABELED))
  notes = []
  if extra := len(there) - int(there.sum()):
    notes.append(f'data.table: {extra:,} images are not in {config.table} and are not used.')
  if config.val and not len(val):
    notes.append(
      f'data.val: {config.val!r} is not used, as {config.table} says which rows validate: none does. `table init '
      '--config=RECIPE` makes a table that is divided as a recipe says; `table curate` draws rows to label.'
    )
  scores = data.given if config.val_labels == 'given' else data.verified
  if (scores[val] < 0).any():
    raise UserError(
      f'data.val_labels: {config.val_labels!r}, but {int((scores[val] < 0).sum())} of the {len(val)} validation rows '
      f'of {config.table} have no such label. Label them, or use another kind of labels.'
    )
  split.check_classes(data, train, config, notes)
  return Placed(
    data,
    split.Split(train, val, test, tuple(notes)),
    rows.weight[places[train]],
    rows.status[places[train]],
    found.name,
  )


def places_of(rows: Rows, data: Dataset) -> np.ndarray:
  """Returns the place in a table of each row of a data set, int64 [N]; -1 = none."""
  return rows.places_named(row_ids(data), data.names)


def refuse(config: ConfigDict, what: str) -> None:
  """Raises UserError if `config` (`config.data`) names a table, for what would pass over it.

  Args:
    config: `config.data`.
    what: the command that divides or labels the data itself.
  """
  if config.table:
    raise UserError(
      f"data.table: {config.table!r}, but {what} does not work on a label table yet; expected data.table='', or train."
    )
