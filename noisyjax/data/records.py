"""Data sets of records, an encoded image with its label each, in a few large files: WebDataset and Hugging Face."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from noisyjax.data import dataset, decode, labels, origin
from noisyjax.data.column import Column
from noisyjax.data.label_notes import position_note


class Record(NamedTuple):
  """An image.

  Attributes:
    name: name of the image.
    label: text of its given label; None = unlabeled.
    part: 'train', 'val' or 'test'.
  """

  name: str
  label: str | None
  part: str


def load(
  where: str,
  records: Sequence[Record],
  read: Callable[[int], decode.Encoded],
  classes: Sequence[str],
  stamp: str,
  config: ConfigDict,
  notes: Sequence[str] = (),
) -> tuple[dataset.Dataset, np.ndarray]:
  """Decodes the images of records.

  Args:
    where: name of the data set in messages.
    records: the records, in row order.
    read: returns the encoded image of a record; threads call it.
    classes: class names that the data set declares; () = those that occur. `config.classes` takes precedence.
    stamp: changes with the content.
    config: `config.data`: classes, unlabeled, size, fit, channels, skip_bad.
    notes: notes for the user.

  Returns:
    The data set, and the true labels, int32 [N]; -1, because they are unknown.

  Raises:
    UserError: labels are not classes, or images are unreadable and `config.skip_bad` is off.
  """
  names = [record.name for record in records]
  column = Column(where, [record.label for record in records], names)
  classes = labels.class_names([column], config.unlabeled, tuple(config.classes) or classes)
  given = labels.indices(column, classes, config.unlabeled)
  size = config.size or origin.usual_side(read, range(len(records)), config.fit)
  decoded = decode.decode_all(names, read, size, config.fit, config.channels, stamp)
  left_out = decode.check_bad(decoded.bad, config.skip_bad, where)
  part = np.array([record.part for record in records])[decoded.good]
  made = dataset.make(
    decoded.images,
    given[decoded.good],
    classes,
    names=[names[i] for i in decoded.good],
    test=part == 'test',
    val=part == 'val',
    digests=decoded.digests,
    notes=[*notes, *decoded.notes, *left_out, *position_note(column, classes)],
  )
  return made, np.full(len(made.given), -1, np.int32)
