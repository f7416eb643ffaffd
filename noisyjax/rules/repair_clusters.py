"""Gives a labeled row the label of its cluster, where the networks predict it too (seed version 12).

Score: share of this label among the other labels of the cluster.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_promoted, proposed
from noisyjax.rules.within import majority
from noisyjax.tables.rows import LABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Relabels rows.

  Attributes:
    threshold: lowest share of the label in the cluster.
    least: labeled rows that the cluster must have besides the row.
  """

  threshold: float = 0.8
  least: int = 10

  why = 'the networks and the labels of its cluster agree'

  @property
  def reads(self) -> tuple[str, ...]:
    return ('cluster',)

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    label, share = majority(rows.label, evidence.columns['cluster'], len(classes), self.least)
    chosen = (rows.status == LABELED) & (label >= 0) & (label != rows.label) & (label == evidence.predicted)
    return proposed(chosen, 'label', label, share)

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)
