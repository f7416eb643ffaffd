"""Drops labeled rows whose loss is among the highest of their class (seed version 2).

Score: the share of the labels of the class whose loss is no higher, by networks that did not train on the row. Losses
are compared within the class, since hard classes have high losses throughout; unlabeled rows have none. A row whose
label is predicted is no candidate.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_promoted, proposed
from noisyjax.rules.within import share_below
from noisyjax.tables.rows import LABELED, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Drops rows.

  Attributes:
    threshold: lowest rank; 0.98 drops at most the 2 % of a class with the highest loss.
  """

  threshold: float = 0.98

  why = 'among the highest losses of its class'

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    rank = loss_rank(evidence, rows)
    chosen = (rows.status == LABELED) & evidence.known & (evidence.predicted != rows.label)
    return proposed(chosen, 'drop', -1, rank)

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)


def loss_rank(evidence: Evidence, rows: Rows) -> np.ndarray:
  """Returns the share of each row's class that has no higher loss, float64 [N]; NaN without a label or prediction."""
  label = np.where(rows.status == LABELED, rows.label, -1)
  return share_below(-evidence.of(label), label)
