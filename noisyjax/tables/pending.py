"""Decisions that are not committed: the resulting state of each row, and disagreements between authors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noisyjax.system.errors import UserError, listed
from noisyjax.tables import edits as edits_, journal
from noisyjax.tables.decisions import Decision, State, act, is_person, state_of
from noisyjax.tables.edits import Edits
from noisyjax.tables.rows import Rows

_FACTS = {'kind', 'author', 'version', 'decisions', 'time', 'branch', 'prev', 'hash'}


class Standing(NamedTuple):
  """A row under the decisions that are not committed.

  Attributes:
    state: its state.
    by: who decided it; '' = nobody.
    contested: whether two authors disagree.
  """

  state: State
  by: str
  contested: bool


class Pending:
  """The entries of a branch after its last commit.

  Attributes:
    end: byte position in the journal up to which it was read.
    last: hash of the entry that ends there.
    entries: the entries of the branch.
    by_hash: the same by their hashes.
  """

  def __init__(self, start: int, last: str) -> None:
    self.end, self.last = start, last
    self.entries: list[dict[str, Any]] = []
    self.by_hash: dict[str, dict[str, Any]] = {}
    # Kept up to date at each decision, so that one costs the same after a million; after an undo, None: made again.
    self._by_row: dict[str, list[tuple[str, Decision]]] | None = {}
    self._count: int | None = 0

  def follow(self, path: Path, branch: str) -> None:
    """Reads entries that were appended; raises UserError if the journal was changed."""
    for entry, end in journal.read(path, self.end, self.last):
      self.end, self.last = end, entry['hash']
      if entry['branch'] == branch:
        self.entries.append(entry)
        self.by_hash[entry['hash']] = entry
        if entry['kind'] == 'undo':
          self._by_row = self._count = None
        else:
          if self._by_row is not None:
            _add(self._by_row, entry)
          if self._count is not None:
            self._count += len(entry['decisions'])

  def __len__(self) -> int:
    """Returns the number of decisions that were not taken back."""
    if self._count is None:
      self._count = sum(len(entry['decisions']) for entry in self._active())
    return self._count

  def undoable(self, author: str, of: str) -> str:
    """Returns the hash of the entry to take back: the one that begins with `of`, or the author's last decisions."""
    undone = self.undone()
    able = [entry for entry in self.entries if entry['hash'] not in undone]
    if of:
      found = [entry['hash'] for entry in able if entry['hash'].startswith(of)]
    else:
      found = [entry['hash'] for entry in able if entry['kind'] == 'decide' and entry['author'] == author][-1:]
    if len(found) != 1:
      if of:
        count = 'several entries' if found else 'no entry'
        raise UserError(
          f'undo: {count} that can be taken back: expected one whose hash begins with {of!r}. What is committed is '
          'taken back by revert.'
        )
      others = sorted({entry['author'] for entry in able if entry['kind'] == 'decide'} - {author})
      waiting = f' Decisions of {listed(others)} wait: expected --author.' if others else ''
      raise UserError(
        f'undo: no decisions of {author} wait to be committed.{waiting} What is committed is taken back by revert.'
      )
    return found[0]

  def state(self, rows: Rows, place: int, author: str, classes: Sequence[str]) -> State:
    """Returns the state that an author's decisions give a row."""
    own = [(who, decision) for who, decision in self._rows().get(rows.id[place], ()) if who == author]
    return _folded(rows, place, own, classes)

  def standing(self, rows: Rows, place: int, author: str, classes: Sequence[str]) -> Standing:
    """Returns what the decisions of all authors make of a row; where they disagree, what `author` says counts."""
    authors = _heard(self._rows().get(rows.id[place], []), '')
    if not authors:
      return Standing(state_of(rows, place), '', False)
    outcomes = {who: _folded(rows, place, own, classes) for who, own in authors.items()}
    by = author if author in outcomes else list(outcomes)[-1]
    return Standing(outcomes[by], by, len(set(outcomes.values())) > 1)

  def rules(self) -> list[dict[str, Any]]:
    """Returns author and parameters of each rule that decided, for the manifest."""
    found = []
    for entry in self._active():
      rule = {'author': entry['author'], **{k: v for k, v in entry.items() if k not in _FACTS}}
      if not is_person(entry['author']) and rule not in found:
        found.append(rule)
    return found

  def edits(self, rows: Rows, classes: Sequence[str], prefer: str = '') -> Edits:
    """Returns one edit of each row that decisions change. A person overrules rules.

    Raises:
      UserError: Two authors disagree on a row, and neither is preferred.
    """
    ids, states, actions, by, reasons, evidence, contested = [], [], [], [], [], [], []
    decided = self._rows()
    for id, place in zip(decided, rows.places(list(decided)).tolist()):
      authors = _heard(decided[id], prefer)
      outcomes = {author: _folded(rows, place, own, classes) for author, own in authors.items()}
      if len(set(outcomes.values())) > 1:
        contested.append(f'{rows.name[place]} ({", ".join(outcomes)})')
        continue
      author, own = list(authors.items())[-1]
      if outcomes[author] != state_of(rows, place):
        last = own[-1][1]
        ids.append(id)
        states.append(outcomes[author])
        actions.append(last.action)
        by.append(author)
        reasons.append(_whole(last.reason))
        evidence.append(_whole(last.evidence))
    if contested:
      raise UserError(
        f'{len(contested)} rows are decided differently by two authors: {listed(contested)}. Decide them again, '
        'undo, or choose an author: --prefer=AUTHOR.'
      )
    return edits_.made(ids, states, actions, by, reasons, evidence)

  def _rows(self) -> dict[str, list[tuple[str, Decision]]]:
    if self._by_row is None:
      self._by_row = {}
      for entry in self._active():
        _add(self._by_row, entry)
    return self._by_row

  def _active(self) -> list[dict[str, Any]]:
    undone = self.undone()
    return [entry for entry in self.entries if entry['kind'] == 'decide' and entry['hash'] not in undone]

  def undone(self) -> set[str]:
    """Returns the hashes of entries that were taken back."""
    return taken_back(self.entries)


def taken_back(entries: Sequence[dict[str, Any]]) -> set[str]:
  """Returns the hashes of journal entries that others took back; an undo that was taken back does not count."""
  undone: set[str] = set()
  for entry in reversed(entries):
    if entry['kind'] == 'undo' and entry['hash'] not in undone:
      undone.add(entry['of'])
  return undone


def _whole(text: str) -> str:
  """Returns text with "?" for halves of characters, which old journals may hold and Parquet cannot."""
  return text.encode(errors='replace').decode()


def _add(by_row: dict[str, list[tuple[str, Decision]]], entry: dict[str, Any]) -> None:
  for decision in entry['decisions']:
    by_row.setdefault(decision['id'], []).append((entry['author'], Decision(**decision)))


def _heard(decided: list[tuple[str, Decision]], prefer: str) -> dict[str, list[tuple[str, Decision]]]:
  """Returns author → decisions on one row, of the authors that count: the preferred one, else persons, else rules."""
  authors: dict[str, list[tuple[str, Decision]]] = {}
  for author, decision in decided:
    authors.setdefault(author, []).append((author, decision))
  if prefer in authors:
    return {prefer: authors[prefer]}
  return {author: own for author, own in authors.items() if is_person(author)} or authors


def _folded(rows: Rows, place: int, decided: Sequence[tuple[str, Decision]], classes: Sequence[str]) -> State:
  state, given = state_of(rows, place), int(rows.given_label[place])
  for author, decision in decided:
    state = act(state, decision, author, given, classes)
  return state
