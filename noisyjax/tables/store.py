"""A label table in a folder: its branches, its decisions that are not committed, and commits.

DIR/table.json            the classes, and the source of the table
DIR/versions/NAME/        one version; it never changes
DIR/branches/BRANCH.json  the current version of a branch, and the end of the journal entries that it includes
DIR/journal.jsonl         all decisions, in order of time
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from noisyjax.system import formats, lock, storage
from noisyjax.system.errors import UserError, listed
from noisyjax.tables import edits as edits_, journal, merge, pending, refs, versions
from noisyjax.tables.decisions import Decision, act, check_author, check_text
from noisyjax.tables.edits import Edits
from noisyjax.tables.rows import Rows, check
from noisyjax.tables.versions import SHORT, Version


def create(folder: str | Path, rows: Rows, classes: Sequence[str], author: str, source: Mapping[str, Any]) -> 'Table':
  """Makes a table with a first version.

  Args:
    folder: folder of the table; created if it does not exist.
    rows: the rows that `rows.first` returns.
    classes: names of the classes.
    author: who decides, "person:NAME" or "rule:NAME".
    source: where the rows come from; it is recorded.

  Raises:
    UserError: the folder already holds a table, or it cannot be written.
  """
  folder = Path(folder)
  check_author(author)
  check(rows, len(classes))
  with lock.held(folder):
    if (folder / 'table.json').exists():
      raise UserError(f'{folder}: holds a label table already; expected another folder.')
    facts = {'message': 'as the source gives it', 'author': author, 'time': _now(), 'rules': []}
    made = versions.write(folder, rows, None, None, classes, facts)
    storage.make_folder(folder / 'branches')
    refs.write_branch(folder, refs.MAIN, {'version': made.name, 'journal': 0, 'last': journal.FIRST})
    content = {'classes': list(classes), 'source': dict(source), 'first': made.name}
    formats.write_json(formats.LABEL_TABLE, folder / 'table.json', content)
    versions.sync(folder)
  return Table(folder)


class Change(NamedTuple):
  """What a new version changes.

  Attributes:
    edits: of the rows of its parent.
    rules: parameters of the rules that decided, for the manifest.
    added: rows that join; None: none.
    other: the version that is merged, its second parent; '': none.
  """

  edits: Edits
  rules: Sequence[Mapping[str, Any]] = ()
  added: Rows | None = None
  other: str = ''


class Table:
  """A branch of a label table, open to read and to decide; the rows stay in memory.

  Attributes:
    folder: folder of the table.
    branch: name of the branch.
    version: version of the branch when it was opened or last committed to.
  """

  def __init__(self, folder: str | Path, branch: str = refs.MAIN) -> None:
    self.folder, self.branch = Path(folder), branch
    self.facts = refs.facts(self.folder)
    self._ref = refs.read_branch(self.folder, branch)
    self.version = versions.read(self.folder, self._ref['version'])
    self._pending = pending.Pending(self._ref['journal'], self._ref['last'])

  @property
  def rows(self) -> Rows:
    return self.version.rows

  @property
  def classes(self) -> list[str]:
    return self.version.classes

  @property
  def _journal(self) -> Path:
    return self.folder / 'journal.jsonl'

  @property
  def flags(self) -> list[str]:
    """The flags with which a command works on this branch."""
    return [f'--table={self.folder}', *([] if self.branch == refs.MAIN else [f'--branch={self.branch}'])]

  def pending(self) -> pending.Pending:
    """Returns the decisions of this branch that are not committed, including those that others appended."""
    self._pending.follow(self._journal, self.branch)
    return self._pending

  def decide(self, author: str, decisions: Sequence[Decision], since: str = '', **facts: Any) -> dict[str, Any]:
    """Records all of the decisions or none. They are on the disk when this returns.

    Args:
      author: who decides, "person:NAME" or "rule:NAME".
      decisions: at most one decision per row.
      since: the version that the author saw; '' = the open one.
      facts: for a rule, its parameters and the run and checkpoint that are its evidence.

    Returns:
      The journal entry.

    Raises:
      UserError: an id is unknown, a decision is not allowed, or a row changed after `since`; the message names the row.
    """
    check_author(author)
    with self._held():
      ids = [decision.id for decision in decisions]
      known = self._moved(since, set(ids))
      if twice := [id for id, n in Counter(ids).items() if n > 1]:
        raise UserError(f'{listed(twice)}: decided twice; expected one decision a row.')
      for decision in decisions:
        self.check(author, decision)
      made = [{k: v for k, v in d._asdict().items() if v not in ('', None)} for d in decisions]
      entry = {'kind': 'decide', 'author': author, 'version': known, 'decisions': made, **facts}
      return self._append(entry)

  def undo(self, author: str, of: str = '') -> dict[str, Any]:
    """Appends an entry that takes back another: `of`, or the author's last decisions. An undo can be taken back too.

    Raises:
      UserError: there is no such entry, or it is committed.
    """
    check_author(author)
    with self._held():
      self._refresh()
      return self._append({'kind': 'undo', 'author': author, 'of': self._pending.undoable(author, of)})

  def commit(self, message: str, author: str, prefer: str = '', **facts: Any) -> Version:
    """Makes a version from the decisions that are not committed.

    Args:
      message: why the labels change.
      author: who commits.
      prefer: the author whose decision is used if two disagree on a row.
      facts: further entries of the manifest, such as the run and checkpoint that are the evidence.

    Raises:
      UserError: there are no decisions, two authors disagree on a row, or another writer committed after this branch
        was opened. The decisions stay in the journal.
    """

    def change() -> Change:
      found = self.pending()
      return Change(found.edits(self.rows, self.classes, prefer), found.rules())

    return self._commit(change, message, author, facts | _preferred(prefer))

  def replace(self, rows: Rows, action: str, message: str, author: str, **facts: Any) -> Version:
    """Makes a version with the states of other rows, such as an older version's; raises the errors of `commit`."""

    def change() -> Change:
      self._check_settled()
      return Change(edits_.between(self.rows, edits_.over(self.rows, rows), action, author, message))

    return self._commit(change, message, author, facts)

  def add(self, rows: Rows, message: str, author: str, **facts: Any) -> Version:
    """Makes a version with further rows, of new images; raises the errors of `commit`."""

    def change() -> Change:
      self._check_settled()
      return Change(edits_.made([], [], [], [], [], []), added=rows)

    check(rows, len(self.classes))
    return self._commit(change, message, author, facts)

  def merge(self, branch: str, message: str, author: str, prefer: str = '') -> Version:
    """Makes a version that takes in another branch, see `merge.merged`; raises the errors of `commit`."""

    def change() -> Change:
      self._check_settled()
      theirs = refs.read_branch(self.folder, branch)['version']
      base = refs.common(self.folder, self.version.name, theirs)
      if base in (None, theirs):
        raise UserError(f'{self.folder}: nothing to merge: {self.branch} has all that {branch} has.')
      read = lambda name: versions.read(self.folder, name).rows
      edits, added = merge.merged(read(base), self.rows, read(theirs), prefer)
      return Change(edits, added=added, other=theirs)

    return self._commit(change, message, author, {'merged': branch} | _preferred(prefer))

  def _check_settled(self) -> None:
    found = self.pending()
    if len(found) and len(found.edits(self.rows, self.classes)):  # decisions that change no row do not wait
      raise UserError(f'{self.folder}: {len(found)} decisions are not committed; commit or undo them first.')

  def _commit(self, change: Callable[[], Change], message: str, author: str, facts: Mapping[str, Any]) -> Version:
    check_author(author)
    check_text('message', message)
    if not message.strip():
      raise UserError('message: is empty; expected why these labels change, in words.')
    with self._held():
      if (now := refs.read_branch(self.folder, self.branch)['version']) != self.version.name:
        raise UserError(
          f'{self.folder}: the branch {self.branch} moved from {self.version.name[:SHORT]} to {now[:SHORT]} since it '
          'was opened; nothing is lost: the decisions are in the journal. Look at the new version, then commit again.'
        )
      versions.sweep(self.folder)
      made = self._made(change(), {'message': message, 'author': author, 'time': _now(), **facts})
      self._ref = {'version': made.name, 'journal': self._pending.end, 'last': self._pending.last}
      refs.write_branch(self.folder, self.branch, self._ref)
      self.version = made
      self._pending = pending.Pending(self._ref['journal'], self._ref['last'])
    return made

  def _made(self, change: Change, facts: Mapping[str, Any]) -> Version:
    """Writes the version that a change makes of the open one, unless a branch contains it already."""
    edits, rules, added, other = change
    if not len(edits) and not added and not other:
      raise UserError(f'{self.folder}: nothing to commit: no row would change.')
    before = edits_.grown(self.rows, added) if added else self.rows
    rows = edits_.apply(before, edits, len(self.classes))
    name = versions.name_of(rows, self.classes, [self.version.name, *([other] if other else [])])
    if name in versions.names(self.folder) and name in refs.lineage(self.folder, refs.branches(self.folder).values()):
      return versions.read(self.folder, name)
    facts = {**facts, 'rules': rules}
    return versions.write(self.folder, rows, edits, self.version, self.classes, facts, added, other)

  def _append(self, entry: Mapping[str, Any]) -> dict[str, Any]:
    whole = {'time': _now(), 'branch': self.branch, **entry}
    return journal.append(self._journal, whole, self._pending.end, self._pending.last)

  def check(self, author: str, decision: Decision) -> None:
    """Raises UserError unless the author may make this decision, given the decisions that `pending` has read."""
    check_author(author)
    check_text('reason', decision.reason)
    check_text('evidence', decision.evidence)
    place = int(self.rows.places([decision.id])[0])
    if place < 0:
      raise UserError(f'{decision.id}: no row of this table has this id.')
    state = self._pending.state(self.rows, place, author, self.classes)
    try:
      act(state, decision, author, int(self.rows.given_label[place]), self.classes)
    except UserError as error:
      raise UserError(f'{self.rows.name[place]} ({decision.id[:SHORT]}): {str(error).rstrip(".")}.') from None

  def _moved(self, since: str, ids: set[str]) -> str:
    """Reads the branch again and returns its version; raises UserError if a row of `ids` changed after `since`."""
    self._refresh()
    if since and since != self.version.name:
      old = versions.read(self.folder, refs.resolve(self.folder, since)).rows
      places = edits_.changed(old, self.rows)  # of rows that joined since, too
      if both := sorted(ids & set(self.rows.id[places].tolist())):
        shown = listed(self.rows.name[self.rows.places(both)].tolist())
        raise UserError(f'{self.folder}: {len(both)} rows changed since version {since[:SHORT]}: {shown}; look again.')
    return self.version.name

  def _refresh(self) -> None:
    ref = refs.read_branch(self.folder, self.branch)
    if ref != self._ref:
      version = versions.read(self.folder, ref['version'])
      if len(version.rows) != len(self.rows):
        raise UserError(f'{self.folder}: images joined the table since it was opened; open it again.')
      self._ref, self.version = ref, version
      self._pending = pending.Pending(ref['journal'], ref['last'])
    self.pending()

  def _held(self) -> AbstractContextManager[None]:
    return lock.waited(self.folder, seconds=refs.WAIT)


def _now() -> str:
  return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())


def _preferred(whose: str) -> dict[str, str]:
  """Returns the entry of a manifest for what `--prefer` said, if anything."""
  return {'prefer': whose} if whose else {}
