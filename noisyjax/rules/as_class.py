"""Gives labels of rules that the networks doubt a class of their own, such as "undefined" (seed versions 3 to 7).

This is an error of the photo seed, whose rows without a label trained as a third class: no network can tell what such
rows have in common. It is here to show what that costs (configs/loop/seed_as_it_was.py); `demote_changed` and
`demote_outliers` take a label back instead. Score: 1 − confidence.
"""

import dataclasses
from collections.abc import Sequence

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, by_rule, proposed
from noisyjax.system.errors import check_choice
from noisyjax.tables.rows import LABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Relabels rows.

  Attributes:
    threshold: lowest score; 0.3 relabels rows of a confidence of at most 0.7.
    label: name of the class.
  """

  threshold: float = 0.3
  label: str = 'undefined'

  why = 'doubtful: set to a class that means nothing'

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    check_choice(f'rule {self.name}: label', self.label, classes)
    chosen = (rows.status == LABELED) & by_rule(rows) & evidence.known
    return proposed(chosen, 'label', list(classes).index(self.label), 1 - evidence.confidence)
