"""The label table behind the page, for many threads: its rows with all decisions, and new decisions, undo and redo."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.review import curate, version_graph
from noisyjax.review.undo_stack import Stacks
from noisyjax.system.errors import UserError
from noisyjax.tables import compare, edits as edits_, history, refs, store, versions
from noisyjax.tables.decisions import Decision
from noisyjax.tables.rows import TRAIN, VAL, Rows

GONE = 255  # as a status: a row that no longer trains, which the page does not show
SHOWN = 300  # maximum number of rows of a difference


class Row(NamedTuple):
  """A row as the page shows it.

  Attributes:
    place: place in the table.
    status: an index into STATUSES, or GONE.
    label: class, -1 = none.
    verified: class, -1 = unchecked.
    weight: weight in losses.
    by: who decided it since the last commit; '' = nobody.
    contested: whether two authors disagree.
  """

  place: int
  status: int
  label: int
  verified: int
  weight: float
  by: str
  contested: bool


class Ledger:
  """A branch of a label table. Only rows that train are shown or changed: never those that test, and those that
  validate only while they are curated.

  Attributes:
    author: "person:NAME", who decides on this page.
    read_only: whether decisions are refused.
    curates: whether a label makes a row validate, see `curate`.
  """

  def __init__(self, folder: Path, branch: str, author: str, read_only: bool = False, curates: bool = False) -> None:
    self.author, self.read_only, self.curates = author, read_only, curates
    self._splits = (TRAIN, VAL) if curates else (TRAIN,)
    self._table = store.Table(folder, branch)
    self._lock = threading.RLock()
    self._followed, self._stacks = self._table.pending(), Stacks(author)

  @property
  def table(self) -> store.Table:
    """The table; its rows are not those of a later version until `refresh`."""
    return self._table

  def refresh(self) -> None:
    """Reads what other pages and commands recorded."""
    with self._lock:
      if refs.read_branch(self._table.folder, self._table.branch)['version'] != self._table.version.name:
        self._table = store.Table(self._table.folder, self._table.branch)
      self._table.pending()

  def shown(self) -> np.ndarray:
    """Returns the places of the rows that the page shows, int64 [n]."""
    return np.flatnonzero(np.isin(self._table.rows.split, self._splits))

  def head(self) -> dict[str, Any]:
    """Returns the version, the number of journal entries read, and what waits for a commit, undo and redo."""
    with self._lock:
      pending, stacks = self._table.pending(), self._undoable()
      return {
        'version': self._table.version.name,
        'seq': len(pending.entries),
        'pending': len(pending),
        'undo': len(stacks.undo),
        'redo': len(stacks.redo),
      }

  def decided(self) -> list[Row]:
    """Returns the rows that decisions touch since the last commit."""
    with self._lock:
      return self._rows(self._touched(self._table.pending().entries))

  def since(self, version: str, seq: int) -> dict[str, Any]:
    """Returns `head`, and the rows that changed after a page read `seq` entries of `version`.

    Where that version is no longer the current one, "moved" is True and the page has to read all rows again.
    """
    with self._lock:
      self.refresh()
      head, entries = self.head(), self._table.pending().entries
      moved = version != head['version'] or not 0 <= seq <= len(entries)
      rows = [] if moved else self._rows(self._touched(entries[seq:]))
      return {**head, 'moved': moved, 'rows': [list(row) for row in rows]}

  def decide(self, decisions: Sequence[tuple[int, Decision]], since: str, by: str = '', **facts: Any) -> None:
    """Records decisions on rows given by their places; they are on the disk when this returns.

    Args:
      decisions: place and decision.
      since: the version that the page showed.
      by: "rule:NAME" where the author takes over decisions of a rule without a look at each row; they stay the
        rule's, so that nothing counts as checked. '' = the author's own.
      facts: further entries of the journal's line.

    Raises:
      UserError: a row does not train, changed after the version `since`, or a decision is not allowed.
    """
    with self._lock:
      self._may_write()
      self.refresh()
      rows = self._table.rows
      for place, _ in decisions:
        if not 0 <= place < len(rows) or rows.split[place] not in self._splits:
          raise UserError(f'row {place}: is no training row of this table.')
      made = [decision._replace(id=str(rows.id[place])) for place, decision in decisions]
      if self.curates:
        waiting, classes = self._table.pending(), self._table.classes
        splits = [waiting.state(rows, place, self.author, classes).split for place, _ in decisions]
        made = [curate.meant(decision, split) for decision, split in zip(made, splits)]
      if by:
        facts['accepted_by'] = self.author
      if since != self._table.version.name:
        since = refs.resolve(self._table.folder, since)
      self._table.decide(by or self.author, made, since, **facts)

  def undo(self) -> list[int]:
    """Takes back the author's last decisions and returns the places of their rows."""
    return self._step('undo')

  def redo(self) -> list[int]:
    """Takes back the author's last undo and returns the places of the rows."""
    return self._step('redo')

  def commit(self, message: str) -> str:
    """Makes a version of all decisions and returns its name; raises as `store.Table.commit` does."""
    with self._lock:
      self._may_write()
      self.refresh()
      return self._table.commit(message, self.author).name

  def revert(self, version: str) -> str:
    """Makes a version with the rows of an older one and returns its name; raises as `store.Table.replace` does."""
    with self._lock:
      self._may_write()
      self.refresh()
      old = versions.read(self._table.folder, refs.resolve(self._table.folder, version))
      message = f'back to {old.name[: versions.SHORT]}'
      return self._table.replace(old.rows, 'revert', message, self.author, reverted_to=old.name).name

  def proposal(self) -> dict[str, Any]:
    """Returns what a commit would change: counts by action and class pair, and the reason why it is refused."""
    with self._lock:
      self.refresh()
      rows, pending = self._table.rows, self._table.pending()
      try:
        edits = pending.edits(rows, self._table.classes)
      except UserError as error:
        return {'counts': [], 'refused': str(error)}
      after = edits_.apply(rows, edits, len(self._table.classes))
      return {'counts': edits_.counts(rows, after, rows.places(edits.id), self._table.classes), 'refused': ''}

  def versions(self) -> list[dict[str, Any]]:
    """Returns the versions of all branches, see `version_graph.listed`."""
    return version_graph.listed(self._table.folder)

  def difference(self, old: str, new: str) -> dict[str, Any]:
    """Returns how two versions differ: the number of training rows, counts, and the first rows with their reasons."""
    folder = self._table.folder
    was, now = (versions.read(folder, refs.resolve(folder, name)) for name in (old, new))
    found = compare.diff(was, now)
    ours = (was.rows.split[found.places] == TRAIN) & (now.rows.split[found.places] == TRAIN)
    found = found._replace(places=found.places[ours], kinds=found.kinds[ours])
    first = found._replace(places=found.places[:SHOWN], kinds=found.kinds[:SHOWN])
    told = [
      {**row, 'place': place} for place, row in zip(first.places.tolist(), compare.told(first, was, now), strict=True)
    ]
    return {'total': len(found.places), 'counts': found.counts, 'rows': told}

  def history(self, place: int) -> dict[str, Any]:
    """Returns the decisions on a row that wait for a commit, oldest first, and a line for each version before."""
    with self._lock:
      self.refresh()
      version, entries = self._table.version, self._table.pending().entries
      undone = self._table.pending().undone()
    id = str(version.rows.id[place])
    waiting = [
      {'time': entry['time'], 'author': entry['author'], 'undone': entry['hash'] in undone, **decision}
      for entry in entries
      if entry['kind'] == 'decide'
      for decision in entry['decisions']
      if decision['id'] == id
    ]
    return {'waiting': waiting, 'committed': list(history.of_place(self._table.folder, version, place))}

  def _undoable(self) -> Stacks:
    """Returns what can be undone and redone; after a commit it is nothing."""
    with self._lock:
      if self._followed is not self._table.pending():
        self._followed, self._stacks = self._table.pending(), Stacks(self.author)
      self._stacks.follow(self._followed.entries)
      return self._stacks

  def _step(self, name: str) -> list[int]:
    with self._lock:
      self._may_write()
      self.refresh()
      stacks = self._undoable()
      stack = stacks.undo if name == 'undo' else stacks.redo
      if not stack:
        raise UserError(f'{name}: there is nothing to {name} since the last commit.')
      made = self._table.undo(self.author, next(reversed(stack)))
      self._table.pending()
      return sorted(self._touched([made]))

  def _may_write(self) -> None:
    if self.read_only:
      raise UserError('this page only reads: it was opened with --read_only.')

  def _touched(self, entries: Iterable[Mapping[str, Any]]) -> set[int]:
    """Returns the places of the rows that entries concern; an undo concerns those of the entry it takes back."""
    by_hash = self._table.pending().by_hash
    ids: set[str] = set()
    for entry in entries:
      while entry['kind'] == 'undo':
        entry = by_hash[entry['of']]
      ids.update(decision['id'] for decision in entry['decisions'])
    return {place for place in self._table.rows.places(sorted(ids)).tolist() if place >= 0}

  def _rows(self, places: Iterable[int]) -> list[Row]:
    rows: Rows = self._table.rows
    pending, out = self._table.pending(), []
    for place in sorted(places):
      if rows.split[place] not in self._splits:
        continue
      state, by, contested = pending.standing(rows, place, self.author, self._table.classes)
      status = state.status if state.split in self._splits else GONE
      out.append(Row(place, status, state.label, state.verified, state.weight, by, contested))
    return out
