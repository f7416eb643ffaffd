"""Puts the rows that the networks are least sure of before a person (seed versions 10 and 11); it decides nothing.

Score: 1 − confidence. The predicted class is suggested.
"""

import dataclasses
from collections.abc import Sequence

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import ASK, Base, Proposed, proposed
from noisyjax.tables.rows import UNLABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Asks a person.

  Attributes:
    threshold: lowest score; 0.3 asks about rows of a confidence of at most 0.7.
  """

  threshold: float = 0.3

  why = 'the networks are unsure'

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    chosen = (rows.status <= UNLABELED) & evidence.known
    return proposed(chosen, ASK, evidence.predicted, 1 - evidence.confidence)
