"""What undo and redo are about: read from the journal, so that both outlive a reload, a restart and a crash.

Decisions of a rule that the author took over belong to the author, too.
"""

from collections.abc import Sequence
from typing import Any


class Stacks:
  """What an author can undo and redo of the entries of a branch that are not committed.

  Attributes:
    undo: hashes of the entries that undo takes back, the next one last; the values are not used.
    redo: hashes of the entries that redo takes back, likewise.
  """

  def __init__(self, author: str) -> None:
    self.undo: dict[str, None] = {}
    self.redo: dict[str, None] = {}
    self._author = author
    self._read = 0
    self._decision: dict[str, str] = {}  # hash of an undo → hash of the decisions that it took back

  def follow(self, entries: Sequence[dict[str, Any]]) -> None:
    """Reads the entries that were appended since the last call; they are in order."""
    while self._read < len(entries):
      entry = entries[self._read]
      self._read += 1
      if entry['kind'] == 'decide':
        if self._author in (entry['author'], entry.get('accepted_by')):
          self.undo[entry['hash']] = None
          self.redo.clear()
      elif entry['of'] in self.undo:
        del self.undo[entry['of']]
        self._decision[entry['hash']] = entry['of']
        self.redo[entry['hash']] = None
      elif entry['of'] in self.redo:
        del self.redo[entry['of']]
        self.undo[self._decision[entry['of']]] = None
