"""Undo and redo of one author. The journal is the stack, so that it survives a reload, a restart and a crash.

Decisions of a rule that the author took over belong to the author, too.
"""

from collections.abc import Sequence
from typing import Any


def stacks(entries: Sequence[dict[str, Any]], author: str) -> tuple[list[str], list[str]]:
  """Returns what an author can undo and redo.

  Args:
    entries: entries of a branch that are not committed, in order.
    author: the author.

  Returns:
    Hashes of the entries that undo takes back, and of those that redo takes back; the next one is last.
  """
  undo: list[str] = []
  redo: list[str] = []
  decision = {}  # hash of an undo → hash of the decisions that it took back
  for entry in entries:
    if entry['kind'] == 'decide':
      if author in (entry['author'], entry.get('accepted_by')):
        undo.append(entry['hash'])
        redo.clear()
    elif entry['of'] in undo:
      undo.remove(entry['of'])
      decision[entry['hash']] = entry['of']
      redo.append(entry['hash'])
    elif entry['of'] in redo:
      redo.remove(entry['of'])
      undo.append(decision[entry['of']])
  return undo, redo
