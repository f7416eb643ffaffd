"""What differs between two versions of a table: counts by action and class pair, and row by row with reasons."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from noisyjax.tables import edits as edits_
from noisyjax.tables.rows import STATUSES, Rows
from noisyjax.tables.versions import SHORT, Version


class Difference(NamedTuple):
  """The differences between two versions.

  Attributes:
    counts: (action, from, to, number of rows), most frequent first.
    places: int64 [n], positions of the rows that differ.
    kinds: str [n], what happened to each of them.
  """

  counts: list[dict[str, Any]]
  places: np.ndarray
  kinds: np.ndarray


def diff(old: Version, new: Version) -> Difference:
  """Compares two versions of one table; raises UserError if their images or classes differ."""
  places = edits_.changed(old.rows, new.rows)
  return Difference(
    edits_.counts(old.rows, new.rows, places, new.classes), places, edits_.kinds(old.rows, new.rows, places)
  )


def told(difference: Difference, old: Version, new: Version) -> Iterator[dict[str, Any]]:
  """Yields a record for each row that differs, with who changed it in which version, and why."""
  rows, before = new.rows, edits_.aligned(old.rows, new.rows)
  for place, kind in zip(difference.places.tolist(), difference.kinds.tolist()):
    yield {
      'name': rows.name[place],
      'id': rows.id[place],
      'action': kind,
      'from': shown(before, place, old.classes),
      'to': shown(rows, place, new.classes),
      'by': rows.by[place],
      'reason': rows.reason[place],
      'evidence': rows.evidence[place],
      'version': rows.version[place][:SHORT],
    }


def shown(rows: Rows, place: int, classes: list[str]) -> str:
  """Returns the label of a row as text, or its status if it has no label; followed by its weight if that is not 1."""
  status, weight = int(rows.status[place]), float(rows.weight[place])
  if status == edits_.ABSENT:
    return 'not in the table'
  word = classes[rows.label[place]] if rows.label[place] >= 0 else STATUSES[status]
  return word if weight in (0, 1) else f'{word} (weight {weight:g})'
