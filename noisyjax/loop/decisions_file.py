"""Files of decisions: what a person filled in, read whole or refused by the row that is wrong."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from noisyjax.data import match, table as cells
from noisyjax.system import formats, reading, storage
from noisyjax.system.errors import UserError, listed
from noisyjax.tables import store
from noisyjax.tables.decisions import Decision, check_author, is_person
from noisyjax.tables.rows import Rows

COLUMNS = ('id', 'file', 'action', 'label', 'weight', 'author', 'reason', 'evidence')
_FILE = ('file', 'name', 'image', 'file_name')  # how other programs call the column


class Read(NamedTuple):
  """What a file of decisions holds.

  Attributes:
    by: author → decisions.
    rejected: (author, rule) → rows that stay as they are, and what the rule proposed for each. Such a row has the
      action `keep`, or was deleted from the file; the JSON file of the same name says what was proposed.
    open: how many rows are not decided: without an action, or to be curated without a label.
    entries: author → what the rule says of its proposals, for the journal; from the same JSON file.
  """

  by: dict[str, list[Decision]]
  rejected: dict[tuple[str, str], tuple[list[Decision], list[str]]]
  open: int
  entries: dict[str, dict[str, Any]]


def text(rows: Rows, places: Sequence[int], columns: Mapping[str, Sequence[str]]) -> str:
  """Returns a CSV of rows to decide on, for a person to fill in or to delete; `columns` fills some of COLUMNS."""
  lines = [list(COLUMNS)]
  for i, place in enumerate(places):
    own = {'id': rows.id[place], 'file': rows.name[place]} | {name: values[i] for name, values in columns.items()}
    lines.append([own.get(name, '') for name in COLUMNS])
  return storage.csv_text(lines)


def read(path: str, table: store.Table, author: str) -> Read:
  """Reads a CSV (or Parquet, JSON) with the columns id or file, action, label, author, reason, weight and evidence.

  Args:
    path: of the file.
    table: that the decisions are about.
    author: of the rows that name none, and of those that were deleted.

  Raises:
    UserError: naming the first row that is wrong: an unknown image, action, label or author, a decision that is not
      allowed, or a second one on the same row.
  """
  file = reading.file_of(path, '--from')
  found = cells.read(file, 'a header with id or file, and action, and a row for each decision')
  header = [str(name).strip().lower() for name in found.header or [cell or '' for cell in found.rows[0]]]
  body = list(zip(found.rows, found.places))[0 if found.header else 1 :]
  if 'action' not in header or not {'id', *_FILE} & set(header):
    raise UserError(
      f'{file}: has the columns {listed(header)}; expected id or file, and action, label, author, reason.'
    )
  if twice := [name for name in COLUMNS if header.count(name) > 1]:
    raise UserError(f'{file}: has {header.count(twice[0])} columns {twice[0]!r}; expected one.')
  table.pending()
  beside = _beside(file)
  with reading.reading(
    file.with_suffix('.json'), 'what was proposed', 'Expected the file that wrote the CSV beside it.'
  ):
    proposed = {str(id): (str(rule), str(said)) for id, rule, said in beside.get('proposed', ())}
    entries = {str(author): dict(entry) for author, entry in beside.get('rules', {}).items()}
  by: dict[str, list[Decision]] = {}
  rejected: dict[tuple[str, str], tuple[list[Decision], list[str]]] = {}
  seen: dict[str, str] = {}
  names, undecided = _Names(table.rows), 0

  def reject(who: str, decision: Decision) -> None:
    rule, said = proposed[decision.id]
    kept, words = rejected.setdefault((who if is_person(who) else author, rule), ([], []))
    kept.append(decision)
    words.append(said)

  for values, place in body:
    row = {name: '' if value is None else str(value).strip() for name, value in zip(header, values)}
    if not row['action'] or (row['action'] == 'curate' and not row.get('label')):
      undecided += 1
      proposed.pop(names.known(_image(row)), None)  # it is there: not deleted
      continue
    try:
      who, decision = _decision(row, names, author)
      if decision.id in seen:
        raise UserError(f'decides on the same image as {seen[decision.id]}; expected one decision an image')
      table.check(who, decision)
    except UserError as error:
      raise UserError(f'{file}: {place}: {str(error).rstrip(".")}. Nothing was applied.') from None
    seen[decision.id] = place
    if decision.action == 'keep' and decision.id in proposed:
      reject(who, decision)
    else:
      by.setdefault(who, []).append(decision)
  for id in proposed:
    if id not in seen and table.rows.places([id])[0] >= 0:
      reject(author, Decision(id, 'keep', reason=f'deleted from {file.name}'))
  return Read(by, rejected, undecided, entries)


def _beside(file: Path) -> dict[str, Any]:
  """Returns the JSON file of the same name, which says what was proposed; {} if there is none."""
  beside = file.with_suffix('.json')
  return {} if file.suffix == '.json' or not beside.exists() else formats.read_json(formats.LABEL_TABLE, beside)


def _image(row: Mapping[str, str]) -> str:
  """Returns the id or the name of the image that a row of the file is about."""
  return row.get('id') or next((row[name] for name in _FILE if row.get(name)), '')


def _decision(row: Mapping[str, str], names: '_Names', author: str) -> tuple[str, Decision]:
  who = row.get('author') or author
  who = check_author(who if ':' in who else f'person:{who}')
  weight: Any = row.get('weight') or None
  if weight is not None:
    try:
      weight = float(weight)
    except ValueError:
      weight = math.nan
    if not math.isfinite(weight):
      raise UserError(f'weight: found {row["weight"]!r}; expected a number above 0')
  decided = Decision(names.id(_image(row)), row['action'].lower(), row.get('label', ''), weight)
  return who, decided._replace(reason=row.get('reason', ''), evidence=row.get('evidence', ''))


class _Names:
  """Finds rows by id, by name, or by a name that is written a little differently."""

  def __init__(self, rows: Rows) -> None:
    self._rows = rows
    self._places = {name: place for place, name in enumerate(rows.name.tolist())}
    self._near: match.Names | None = None

  def known(self, image: str) -> str:
    """Returns the id of an image; '' = it is not in the table, or not clearly."""
    try:
      return self.id(image)
    except UserError:
      return ''

  def id(self, image: str) -> str:
    place = int(self._rows.places([image])[0])
    place = self._places.get(image, -1) if place < 0 else place
    if place < 0 and image:
      self._near = self._near or match.Names(self._rows.name.tolist())
      found, _ = self._near.find(image)
      if len(found) > 1:
        raise UserError(f'{image!r} may be {listed(self._rows.name[found].tolist())}; expected an id or a whole name')
      place = found[0] if found else -1
    if place < 0:
      first = self._rows.name[0] if len(self._rows) else ''
      raise UserError(f'{image!r} is no image of this table; expected an id, or a name such as {first!r}')
    return str(self._rows.id[place])
