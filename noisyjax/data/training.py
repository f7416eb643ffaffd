"""The training rows of a run, as strategies may know them."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainData:
  """What a strategy may know of the training rows when a phase begins. The true labels are not among it.

  Attributes:
    images: uint8 [N, H, W, C].
    given: int32 [N], -1 = unlabeled.
    verified: int32 [N], -1 = unchecked.
    classes: number of classes.
    features: width F of the networks' features, known to `init` alone.
    weight: float32 [N], what each row counts in the losses; rows of weight 0 enter nothing. None: all count 1.
  """

  images: np.ndarray
  given: np.ndarray
  verified: np.ndarray
  classes: int
  features: int = 0
  weight: np.ndarray | None = None
