"""The training rows of a run, as strategies may know them.

One invariant holds for every `TrainData`, however it was built: a row is unlabeled if and only if its labels are -1,
and then its label reaches nothing. A row that was dropped or is held has no labels and the weight 0, and nothing of it,
not even its image, reaches what is trained.
"""

import dataclasses
import enum
from typing import Any

import numpy as np

from noisyjax.data.images import Images, as_images, first_of_same


class Status(enum.IntEnum):
  """What was decided of a training row.

  Attributes:
    LABELED: has a given or a verified label, which may be learned.
    UNLABELED: its image may be learned from, by the methods that do so; it has no label.
    DROPPED: was taken out of the data. No stream, no statistic and no score of a method sees it.
    HELD: is judged by what the others train, as a fold's rows are. As DROPPED, except that its pixels count in the mean
      and deviation that normalise images: these are static in a compiled step, which all folds of a data set share.
  """

  LABELED = 0
  UNLABELED = 1
  DROPPED = 2
  HELD = 3


@dataclasses.dataclass(frozen=True)
class TrainData:
  """What a strategy may know of the training rows when a phase begins. The true labels are not among it.

  Construction settles labels, weights and statuses so that the invariant above holds.

  Attributes:
    images: of the rows; an array uint8 [N, H, W, C] is made `Images`.
    given: int32 [N], -1 = no label; -1 unless the row is LABELED.
    verified: int32 [N], -1 = unchecked; -1 unless the row is LABELED.
    classes: number of classes.
    features: width F of the networks' features, known to `init` alone.
    weight: float32 [N], what each row counts in the losses; 0 for rows that are DROPPED or HELD. None: 1.
    status: int8 [N], a `Status` a row. None: by the labels. A row of weight 0 that is not HELD is DROPPED.
  """

  images: Images | Any
  given: np.ndarray
  verified: np.ndarray
  classes: int
  features: int = 0
  weight: np.ndarray | Any = None  # None until `__post_init__`
  status: np.ndarray | Any = None

  def __post_init__(self) -> None:
    count = len(self.given)
    weight = np.ones(count, np.float32) if self.weight is None else np.asarray(self.weight, np.float32)
    status = np.full(count, Status.LABELED, np.int8) if self.status is None else np.array(self.status, np.int8)
    status[(weight <= 0) & (status != Status.HELD)] = Status.DROPPED
    status[(status == Status.LABELED) & (self.given < 0) & (self.verified < 0)] = Status.UNLABELED
    labeled = status == Status.LABELED
    settle = lambda name, value: object.__setattr__(self, name, value)
    settle('images', as_images(self.images))
    settle('status', status)
    settle('weight', np.where(self.used, weight, np.float32(0)))
    settle('given', np.where(labeled, self.given, np.int32(-1)))
    settle('verified', np.where(labeled, self.verified, np.int32(-1)))

  @property
  def used(self) -> np.ndarray:
    """bool [N]: the rows that may be trained on, with or without a label."""
    return self.status <= Status.UNLABELED

  def twins(self) -> np.ndarray:
    """Returns int64 [N]: for each row the first one that holds the same image."""
    return first_of_same(self.images)
