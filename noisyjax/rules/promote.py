"""Labels unlabeled rows with the predicted class where the networks are sure (seed versions 1 and 3 to 9).

Score: confidence of the mean of the networks that did not train on the row.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_unlabeled, proposed
from noisyjax.tables.rows import UNLABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Promotes rows.

  Attributes:
    threshold: lowest confidence.
    agreement: lowest share of the networks (folds and seeds) that predict this class.
    neighbours: whether the most frequent label among the nearest labeled rows must be this class.
  """

  threshold: float = 0.95
  agreement: float = 0.0
  neighbours: bool = False

  why = 'the networks are sure'

  @property
  def reads(self) -> tuple[str, ...]:
    return ('knn_label',) if self.neighbours else ()

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    predicted = evidence.predicted
    chosen = (rows.status == UNLABELED) & (predicted >= 0)
    if self.agreement:
      chosen &= evidence.agree >= self.agreement
    if self.neighbours:
      chosen &= evidence.columns['knn_label'] == predicted
    return proposed(chosen, 'label', predicted, evidence.confidence)

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_unlabeled(rows, frozen)
