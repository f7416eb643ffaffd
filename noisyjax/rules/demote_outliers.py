"""Takes the labels of outliers back (seed versions 3 to 7), or drops them (seed version 14).

Score: mean distance to the nearest neighbours over the median of this mean in the class; 1 is usual.
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
    threshold: lowest score.
    action: unlabel or drop.
    given: whether labels of the source are edited too; otherwise only those that rules gave.
  """

  threshold: float = 2.0
  action: str = 'unlabel'
  given: bool = False

  why = 'far from its neighbours'
  choices = {'action': ('unlabel', 'drop')}

  @property
  def reads(self) -> tuple[str, ...]:
    return ('outlier',)

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    chosen = (rows.status == LABELED) & (self.given | by_rule(rows))
    return proposed(chosen, self.action, -1, np.minimum(evidence.columns['outlier'], 1e9))

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)
