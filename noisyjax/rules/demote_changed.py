"""Takes a label back that a rule gave, where the networks now predict another class.

Score: probability of the class that is now predicted. A label of the source or of a person is no candidate.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_promoted, by_rule, proposed
from noisyjax.tables.rows import LABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Demotes rows.

  Attributes:
    threshold: lowest probability of another class.
  """

  threshold: float = 0.5

  why = 'the networks changed their mind'

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    predicted = evidence.predicted
    chosen = (rows.status == LABELED) & by_rule(rows) & (predicted >= 0) & (predicted != rows.label)
    return proposed(chosen, 'unlabel', -1, evidence.confidence)

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)
