"""Training rows that a run sets aside (`data.hold`), and labels that it does not get (`data.labeled`)."""

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import split
from noisyjax.data.dataset import Dataset, duplicate_groups
from noisyjax.data.on_table import Placed
from noisyjax.data.row_spec import parse
from noisyjax.data.training import Status
from noisyjax.system.errors import UserError


def without_labels(data: Dataset, train: np.ndarray, config: ConfigDict) -> Dataset:
  """Returns the data set with the given labels of all but `config.labeled` training rows removed.

  The rows that keep their label are drawn by class; exact duplicates keep or lose theirs together.

  Args:
    data: the data set.
    train: training rows.
    config: `config.data`.

  Raises:
    UserError: there are fewer labels than that.
  """
  pool = train[data.given[train] >= 0]
  if not config.labeled:
    return data
  if config.labeled > len(pool):
    raise UserError(
      f'data.labeled: found {config.labeled}; expected at most {len(pool)}, the training rows with a label.'
    )
  images, random = duplicate_groups(data.ids), split.rng(config.seed, 'labeled')
  kept = split.draw(pool, config.labeled / len(pool), data.given, images, random)
  given = data.given.copy()
  given[np.setdiff1d(train, kept)] = -1
  return data.with_labels(given=given)


def held(placed: Placed, config: ConfigDict) -> Placed:
  """Returns the data of a run with the status HELD for the training rows that `config.hold` names.

  Args:
    placed: data set and split.
    config: `config.data`.

  Raises:
    UserError: `hold` is malformed, or leaves labels of fewer than two classes.
  """
  if not config.hold:
    return placed
  data, train = placed.data, placed.parts.train
  named = parse('data.hold', config.hold, data.ids, data.names)
  if isinstance(named, float):
    raise UserError(f"data.hold: found {config.hold!r}, a fraction; expected index ranges 'a:b,c:d' or '@file'.")
  out, notes = np.isin(train, named), list(placed.parts.notes)
  if missing := len(named) - int(out.sum()):
    notes.append(f'data.hold: {missing:,} of its {len(named):,} rows do not train anyway.')
  status = np.full(len(train), Status.LABELED, np.int8) if placed.status is None else placed.status
  used = train[~out & (status <= Status.UNLABELED)]
  split.check_classes(data, used, config, notes)
  parts = dataclasses.replace(placed.parts, notes=tuple(notes))
  return placed._replace(parts=parts, status=np.where(out, np.int8(Status.HELD), status))
