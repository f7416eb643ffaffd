"""What was decided of a row: the statuses of a label table and of the training rows of a run."""

import enum


class Status(enum.IntEnum):
  """The status of a row.

  Attributes:
    LABELED: the row has a given or a verified label.
    UNLABELED: the row has no label; only methods that use unlabeled images train on it.
    DROPPED: the row was removed. No stream, statistic or score of a method includes it.
    HELD: the row is held out, like the rows of a fold in cross-validation. It is treated like DROPPED, except that its
      pixels count in the mean and standard deviation that normalise images: these are static values of the compiled
      step, which all folds of a data set share.
  """

  LABELED = 0
  UNLABELED = 1
  DROPPED = 2
  HELD = 3
