"""What people rejected: proposals that rules do not make again.

A rejection is a decision `keep`. Where its journal entry says what was proposed (`proposal`: the rule, and for each
decision words such as "label cat"), it rejects that alone; otherwise the row stays as it is, whatever is proposed.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from noisyjax.tables import journal
from noisyjax.tables.decisions import is_person
from noisyjax.tables.pending import taken_back

EVERY = ''  # all proposals about a row
Rejected = Mapping[str, Collection[str]]  # id → proposals in the words of `said`, or EVERY


def said(action: str, label: str) -> str:
  """Returns a proposal in words, such as "label cat"; label: name of a class, or ''."""
  return f'{action} {label}'.strip()


def read(folder: Path, ignored: Collection[str] = ()) -> Rejected:
  """Returns the proposals that were rejected, on any branch.

  A later decision about a row leaves only rejections of a label: the others do not apply to a row that changed.

  Args:
    folder: folder of the table.
    ignored: hashes of journal entries that do not count.

  Raises:
    UserError: the journal was changed.
  """
  entries = [entry for entry, _ in journal.read(folder / 'journal.jsonl') if entry['hash'] not in ignored]
  undone, out = taken_back(entries), {}
  for entry in entries:
    if entry['kind'] != 'decide' or entry['hash'] in undone:
      continue
    asked = entry.get('proposal', {}).get('said') or [EVERY] * len(entry['decisions'])
    for decision, proposed in zip(entry['decisions'], asked):
      found = out.setdefault(decision['id'], set())
      if decision['action'] != 'keep':
        found -= {words for words in found if ' ' not in words}
      elif proposed or is_person(entry['author']):
        found.add(proposed)
  return {id: found for id, found in out.items() if found}


def holds(rejected: Rejected, id: str, action: str, label: str) -> bool:
  """Returns whether a proposal was rejected; label: name of a class, or ''."""
  found = rejected.get(id, ())
  return EVERY in found or said(action, label) in found
