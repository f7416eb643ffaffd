"""Verifies a table: rows match the names of versions, edits lead to them, and the journal is complete."""

from collections.abc import Iterator
from pathlib import Path

from noisyjax.system.errors import UserError
from noisyjax.tables import edits as edits_, journal, refs, rows, versions
from noisyjax.tables.versions import SHORT, Version


def verify(folder: Path) -> Iterator[str]:
  """Yields a sentence for each check that passes.

  Raises:
    UserError: a part is damaged, changed or missing; the message names the file, version, row or line.
  """
  facts = refs.facts(folder)
  branches = refs.branches(folder)
  if not branches:
    raise UserError(f'{folder}: has no branch; expected the file branches/{refs.MAIN}.json.')
  entries, ends = 0, {0: journal.FIRST}
  for entry, end in journal.read(folder / 'journal.jsonl'):
    entries, ends[end] = entries + 1, entry['hash']
  yield f'journal: {entries} entries, each follows the one before it'
  for branch in branches:
    ref = refs.read_branch(folder, branch)
    if ends.get(ref['journal']) != ref['last']:
      raise UserError(
        f'{folder}: the journal is not the one that branch {branch} was committed with; lines were replaced.'
      )
  old: Version | None = None
  for name in refs.lineage(folder, branches.values()):
    parents = versions.read_manifest(folder, name)['parents']
    if not parents and name != facts['first']:
      raise UserError(
        f'{folder}: version {name[:SHORT]} has no parent; expected one that comes from {facts["first"][:SHORT]}.'
      )
    if parents and (old is None or old.name != parents[0]):
      old = versions.read(folder, parents[0])
    old = version(folder, name, old if parents else None)
    yield f'version {name[:SHORT]}: {old.manifest["message"]!r} holds'


def version(folder: Path, name: str, old: Version | None) -> Version:
  """Reads a version and replays its edits on its parent.

  Raises:
    UserError: the rows do not match the name or break the invariant, or the edits do not lead to them.
  """
  new = versions.read(folder, name)
  rows.check(new.rows, len(new.classes))
  if old is not None:
    edits = versions.read_edits(folder, name)
    added = versions.read_added(folder, new)
    before = old.rows if added is None else edits_.grown(old.rows, added)
    replayed = edits_.apply(before, edits, len(new.classes), name)
    same = rows.digest(replayed, rows.COLUMNS) == new.manifest['content']
    if not same or len(edits) != new.manifest['edits']:
      raise UserError(
        f'{folder}: the edits of version {name[:SHORT]} do not turn its parent into it: they were changed.'
      )
  return new
