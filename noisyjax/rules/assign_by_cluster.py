"""Labels unlabeled rows by prediction, confidence and cluster together (seed version 13).

Score: confidence. The most frequent label of the cluster must be the predicted class.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_unlabeled, proposed
from noisyjax.rules.within import majority
from noisyjax.tables.rows import UNLABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Promotes rows.

  Attributes:
    threshold: lowest confidence.
    purity: lowest share of the class among the labels of the cluster.
    least: labeled rows that the cluster must have.
  """

  threshold: float = 0.8
  purity: float = 0.8
  least: int = 5

  why = 'prediction and cluster agree'

  @property
  def reads(self) -> tuple[str, ...]:
    return ('cluster',)

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    label, share = majority(rows.label, evidence.columns['cluster'], len(classes), self.least)
    chosen = (rows.status == UNLABELED) & (label >= 0) & (label == evidence.predicted) & (share >= self.purity)
    return proposed(chosen, 'label', label, evidence.confidence)

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_unlabeled(rows, frozen)
