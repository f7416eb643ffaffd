"""The training rows of a run, without their true labels.

Every `TrainData` satisfies one invariant. A row is UNLABELED if and only if both of its labels are -1, and its label
then influences nothing. A DROPPED or HELD row has no labels and weight 0, and its image does not influence training.
"""

import dataclasses
from typing import Any

import numpy as np

from noisyjax.data.images import Images, as_images, first_of_same
from noisyjax.tables.status import Status


@dataclasses.dataclass(frozen=True)
class TrainData:
  """The training rows as a strategy sees them, without true labels.

  The constructor adjusts labels, weights and statuses so that the invariant of this module holds.

  Attributes:
    images: images of the rows; an array uint8 [N, H, W, C] is converted to `Images`.
    given: int32 [N], given labels; -1 = no label. All rows but LABELED ones are set to -1.
    verified: int32 [N], verified labels; -1 = not verified. All rows but LABELED ones are set to -1.
    classes: number of classes.
    features: width F of the networks' features; set only for `Strategy.init`, otherwise 0.
    weight: float32 [N], weights in the losses; None for 1. DROPPED and HELD rows are set to 0.
    status: int8 [N], a `Status` per row; None derives it from the labels. Rows of weight 0 that are not HELD become
      DROPPED.
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
    """Whether each row may be trained on, with or without a label, bool [N]."""
    return self.status <= Status.UNLABELED

  def labels(self, kind: str) -> np.ndarray:
    """Returns labels, int32 [N]; -1 = none.

    Args:
      kind: given, verified, or both: the verified label, or the given one where there is none.
    """
    either = np.where(self.verified >= 0, self.verified, self.given)
    return {'given': self.given, 'verified': self.verified, 'both': either}[kind]

  def twins(self) -> np.ndarray:
    """Returns, for each row, the first row with the same image, int64 [N]."""
    return first_of_same(self.images)
