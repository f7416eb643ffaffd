"""Edits: the new states of some rows, and the one function that writes them into a table."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from noisyjax.system.errors import UserError, listed
from noisyjax.tables.decisions import State
from noisyjax.tables.rows import (
  COLUMNS as ALL,
  DROPPED,
  DTYPES,
  HELD,
  LABELED,
  STATE,
  UNLABELED,
  Rows,
  check,
  texts,
)

COLUMNS = ('id', 'action', *STATE, 'by', 'reason', 'evidence')
NONE = '-'  # in counts, the class of a row without a label
ABSENT = -1  # in rows that are compared, the status of a row that joined the table later


@dataclasses.dataclass(frozen=True, eq=False)
class Edits:
  """New states of rows, columns [E]; each row at most once.

  Attributes:
    id: ids of the rows.
    action: last decision, of `decisions.ACTIONS`, or "revert" or "import".
    split: split after the edit, as in `Rows`.
    status: status after the edit.
    label: label after the edit.
    verified: verified label after the edit.
    weight: weight after the edit.
    by: who decided.
    reason: free text.
    evidence: text, such as a score.
  """

  id: np.ndarray
  action: np.ndarray
  split: np.ndarray
  status: np.ndarray
  label: np.ndarray
  verified: np.ndarray
  weight: np.ndarray
  by: np.ndarray
  reason: np.ndarray
  evidence: np.ndarray

  def __len__(self) -> int:
    return len(self.id)


def made(
  ids: Sequence[str],
  states: Sequence[State],
  actions: Sequence[str],
  by: Sequence[str],
  reasons: Sequence[str],
  evidence: Sequence[str],
) -> Edits:
  """Returns edits from lists of equal length."""
  columns = {name: np.array([getattr(s, name) for s in states], DTYPES[name]) for name in STATE}
  return Edits(texts(ids), texts(actions), **columns, by=texts(by), reason=texts(reasons), evidence=texts(evidence))


def apply(rows: Rows, edits: Edits, classes: int, version: str = '') -> Rows:
  """Returns the rows with edits applied. No other function changes a row.

  Args:
    rows: rows before the edits.
    edits: the new states.
    classes: number of classes.
    version: version that the edited rows name as the one that changed them.

  Raises:
    UserError: an id is unknown, a row has two edits, or a state breaks the invariant of `Rows`.
  """
  places = rows.places(edits.id)
  if (places < 0).any():
    unknown = edits.id[places < 0]
    raise UserError(f'edits: {len(unknown)} ids are not in this table: {listed(unknown)}.')
  if len(np.unique(places)) < len(places):
    raise UserError('edits: found two edits of one row; expected one.')
  changed = {name: getattr(edits, name) for name in (*STATE, 'by', 'reason', 'evidence')}
  changed['version'] = texts([version] * len(edits))
  out = {}
  for name, values in changed.items():
    out[name] = getattr(rows, name).copy()
    out[name][places] = values
  edited = dataclasses.replace(rows, **out)
  check(edited, classes, places)
  return edited


def grown(rows: Rows, added: Rows) -> Rows:
  """Returns the rows of both, sorted by id; raises UserError if an id is in both."""
  if (both := rows.places(added.id) >= 0).any():
    raise UserError(f'rows to add: {listed(added.name[both])} are in this table; expected new images.')
  columns = {name: np.concatenate([getattr(rows, name), getattr(added, name)]) for name in ALL}
  order = np.argsort(columns['id'], kind='stable')
  return Rows(**{name: column[order] for name, column in columns.items()})


def aligned(old: Rows, new: Rows) -> Rows:
  """Returns the rows of an older version in the places of those of a newer one; rows that joined later are ABSENT.

  Raises:
    UserError: the newer one lacks a row.
  """
  if old.id is new.id or np.array_equal(old.id, new.id):
    return old
  place = old.places(new.id)
  there = place >= 0
  if there.sum() < len(old):
    raise UserError('the two tables are of different images; expected two versions of one table, the older one first.')
  out = {}
  for name in ALL:
    out[name] = getattr(new, name).copy()
    out[name][there] = getattr(old, name)[place[there]]
  out['status'][~there], out['label'][~there] = ABSENT, -1
  return Rows(**out)


def over(rows: Rows, states: Rows) -> Rows:
  """Returns rows with the states that others have; rows that those lack stay as they are."""
  place = states.places(rows.id)
  out = {}
  for name in STATE:
    out[name] = getattr(rows, name).copy()
    out[name][place >= 0] = getattr(states, name)[place[place >= 0]]
  return dataclasses.replace(rows, **out)


def changed(old: Rows, new: Rows) -> np.ndarray:
  """Returns the positions in `new` of the rows whose state differs or that joined, int64 [n]; raises as `aligned`."""
  old = aligned(old, new)
  return np.flatnonzero(np.any([getattr(old, name) != getattr(new, name) for name in STATE], axis=0))


def between(old: Rows, new: Rows, action: str, by: str, reason: str) -> Edits:
  """Returns the edits that turn the states of `old` into those of `new`."""
  places = changed(old, new)
  states = {name: getattr(new, name)[places] for name in STATE}
  same = lambda text: texts([text] * len(places))
  return Edits(old.id[places], same(action), **states, by=same(by), reason=same(reason), evidence=same(''))


def kinds(old: Rows, new: Rows, places: np.ndarray) -> np.ndarray:
  """Returns what happened to each of the rows, str [n], by its states before and after."""
  was, now = ({name: getattr(rows, name)[places] for name in STATE} for rows in (aligned(old, new), new))
  differ = lambda name: was[name] != now[name]
  return np.select(
    [
      was['status'] == ABSENT,
      differ('split'),
      differ('status') & (now['status'] == DROPPED),
      differ('status') & (now['status'] == HELD),
      differ('status') & (was['status'] >= DROPPED),
      differ('status') & (now['status'] == LABELED),
      differ('status') & (now['status'] == UNLABELED),
      differ('label'),
      differ('verified'),
      differ('weight'),
    ],
    ['add', 'curate', 'drop', 'hold', 'restore', 'promote', 'demote', 'relabel', 'verify', 'reweight'],
    'none',
  )


def counts(old: Rows, new: Rows, places: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
  """Returns (action, from, to, number of rows) of all changes, most frequent first."""
  names = [*classes, NONE]  # -1 is the last
  was = aligned(old, new).label[places]
  found = zip(kinds(old, new, places).tolist(), was.tolist(), new.label[places].tolist())
  pairs = Counter((kind, names[a], names[b]) for kind, a, b in found)
  ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
  return [{'action': kind, 'from': a, 'to': b, 'rows': n} for (kind, a, b), n in ordered]
