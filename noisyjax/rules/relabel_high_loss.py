"""Gives labeled rows whose loss is among the highest of their class the predicted class (seed version 2).

Score: as of `drop_high_loss`.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.drop_high_loss import loss_rank
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_promoted, proposed
from noisyjax.tables.rows import LABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Relabels rows.

  Attributes:
    threshold: lowest rank; 0.98 relabels at most the 2 % of a class with the highest loss.
    confidence: lowest probability of the new class.
  """

  threshold: float = 0.98
  confidence: float = 0.5

  why = 'among the highest losses of its class'

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    predicted = evidence.predicted
    chosen = (rows.status == LABELED) & (predicted >= 0) & (predicted != rows.label)
    return proposed(chosen & (evidence.confidence >= self.confidence), 'label', predicted, loss_rank(evidence, rows))

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)
