"""Corrects labels that confident learning flags (seed version 15); see `estimate.confident`.

Score: 1 − probability of the label. The flags are those of cleanlab on the same rows.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from noisyjax.estimate import confident
from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, as_promoted, proposed
from noisyjax.tables.rows import LABELED, TRAIN, Rows

_issues = jax.jit(confident.issues, static_argnames='kind')


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Relabels rows.

  Attributes:
    filter: which labels are flagged, a name in `estimate.confident.FILTERS`.
    action: label (the predicted class), unlabel, hold or drop.
  """

  filter: str = 'prune_by_noise_rate'
  action: str = 'label'

  why = 'flagged by confident learning'
  choices = {'filter': tuple(confident.FILTERS), 'action': ('label', 'unlabel', 'hold', 'drop')}

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    keep = (rows.status == LABELED) & (rows.split == TRAIN) & evidence.known
    label = np.where(keep, rows.label, -1)
    flagged = np.asarray(_issues(np.nan_to_num(evidence.probs), label, keep, self.filter)) & keep
    new = evidence.predicted if self.action == 'label' else -1
    return proposed(flagged, self.action, new, 1 - evidence.of(label))

  def met(self, rows: Rows, frozen: np.ndarray) -> Rows:
    return as_promoted(rows, frozen)
