"""Keeps one training row of each group of duplicates (seed version 14).

A training row whose duplicate validates is dropped. Of the others, a row that a person checked stays, or else a labeled
one, or else the first. Where labels of a group differ and nobody checked one, all its rows are held until someone
decides. Score: 1.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from noisyjax.rules.evidence import Evidence
from noisyjax.rules.rule import Base, Proposed, proposed
from noisyjax.tables.rows import TRAIN, UNLABELED, VAL, Rows


@dataclasses.dataclass(frozen=True)
class Rule(Base):
  """Drops and holds rows."""

  why = 'a duplicate'

  @property
  def reads(self) -> tuple[str, ...]:
    return ('duplicate_group',)

  def propose(self, evidence: Evidence, rows: Rows, classes: Sequence[str]) -> Proposed:
    used = (evidence.columns['duplicate_group'] >= 0) & (rows.status <= UNLABELED) & (rows.split <= VAL)
    place = np.flatnonzero(used)
    group = evidence.columns['duplicate_group'][place]
    # the row that stays comes first: of validation, then checked, then labeled
    first = np.lexsort((place, rows.label[place] < 0, rows.verified[place] < 0, rows.split[place] == TRAIN, group))
    place, group = place[first], group[first]
    action = np.full(len(rows), '', object)
    for mine in np.split(place, np.flatnonzero(np.diff(group)) + 1):
      labels = rows.label[mine]
      open_ = (rows.split[mine] == TRAIN).all() and (rows.verified[mine] < 0).all()
      if open_ and len(np.unique(labels[labels >= 0])) > 1:
        action[mine] = 'hold'
      else:
        action[mine[1:]] = 'drop'
    return proposed(action != '', action, -1, np.ones(len(rows)))
