"""What rules propose for a person to accept or reject, with each rule's own estimate of its precision.

`table propose`, and a round of the loop that waits for a person, write proposals.csv and proposals.json.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from noisyjax.loop import own_csv
from noisyjax.rules.rule import ASK
from noisyjax.system import formats, reading
from noisyjax.system.errors import UserError, check_choice
from noisyjax.tables import rejections, store
from noisyjax.tables.decisions import ACTIONS, is_person
from noisyjax.tables.rows import TRAIN, UNLABELED, Rows

FILE = 'proposals.csv'
ACTION = [ASK, *ACTIONS]  # what a proposal may ask for; the page knows the actions by their numbers here


class Proposals(NamedTuple):
  """What one rule proposes; columns [p] in the order of the file, the surest first.

  Attributes:
    rule: "rule:NAME".
    source: name of the folder.
    entry: what the rule says of itself, see `rules.apply.Outcome`; {} where that is not known.
    place: int64, places in the table.
    action: int64, indices into ACTION.
    label: int32, the proposed class; -1 = none.
    score: float32, how sure the rule is.
    at: place → position in these columns.
  """

  rule: str
  source: str
  entry: Mapping[str, Any]
  place: np.ndarray
  action: np.ndarray
  label: np.ndarray
  score: np.ndarray
  at: Mapping[int, int]

  def said(self, place: int, classes: Sequence[str]) -> str:
    """Returns the proposal for a row as text, such as "label cat"; '' where the rule asks, or proposes nothing."""
    if (at := self.at.get(place)) is None:
      return ''
    label = int(self.label[at])
    return rejections.said(ACTION[self.action[at]], classes[label] if label >= 0 else '')

  def open(self, rows: Rows) -> np.ndarray:
    """Returns which proposals would change a row that no person checked, bool [p]."""
    at = self.place
    editable = (rows.split[at] == TRAIN) & (rows.status[at] <= UNLABELED) & (rows.verified[at] < 0)
    same = (self.action == ACTION.index('label')) & (self.label == rows.label[at])
    return editable & ~same


def read(workdirs: Sequence[Path], table: store.Table) -> list[Proposals]:
  """Reads FILE of each folder that holds one.

  Raises:
    UserError: a file is damaged, names an action or a class that does not exist, or is about other rows.
  """
  return [found for folder in workdirs if (folder / FILE).exists() for found in _of_folder(folder, table)]


def _of_folder(folder: Path, table: store.Table) -> Iterator[Proposals]:
  path, classes = folder / FILE, table.classes
  lines = own_csv.read(path, ('id', 'action', 'label'), 'table propose')
  place = table.rows.places([line['id'] for line in lines])
  if lines and (place < 0).all():
    raise UserError(f'{path}: none of its rows is in {table.folder}; expected proposals about this table.')
  entries, number = _entries(folder), {name: i for i, name in enumerate(classes)}
  by_rule: dict[str, list[tuple[int, int, int, float]]] = {}
  for count, (line, at) in enumerate(zip(lines, place.tolist()), 1):
    rule = line.get('author') or f'rule:{line.get("reason") or "unknown"}'
    if is_person(rule):  # whose decisions would count as checked
      raise UserError(f'{path}: row {count}: author: found {rule!r}; expected a rule, "rule:NAME".')
    action, label = line['action'] or ASK, line['label']
    check_choice(f'{path}: row {count}: action', action, ACTION)
    if label:
      check_choice(f'{path}: row {count}: label', label, number)
    if at >= 0:
      by_rule.setdefault(rule, []).append((at, ACTION.index(action), number.get(label, -1), _score(line)))
  for rule, found in by_rule.items():
    place, action, label, score = (np.array(column) for column in zip(*found))
    entry = entries.get(rule, {})
    columns = place, action, label.astype(np.int32), score.astype(np.float32)
    yield Proposals(rule, folder.resolve().name, entry, *columns, {row[0]: k for k, row in enumerate(found)})


def _score(line: Mapping[str, str]) -> float:
  try:
    score = float(line.get('evidence') or 0)
  except ValueError:
    return 0.0
  return score if math.isfinite(score) else 0.0


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
  """Returns author → what the rule says of itself."""
  if not (path := folder / 'proposals.json').exists():
    return {}
  with reading.reading(path, 'what rules say of themselves'):
    found = formats.read_json(formats.LABEL_TABLE, path).get('rules', {})
    for rule, entry in found.items():
      _check(rule, entry)
  return found


def _check(rule: str, entry: Mapping[str, Any]) -> None:
  """Raises ValueError or TypeError unless the page can show what a rule says of itself."""
  json.dumps(entry, allow_nan=False)
  if not isinstance(entry.get('made_on', ''), str):
    raise TypeError(f'{rule}: made_on is no text')
  if estimate := entry.get('estimate'):
    for name in ('right', 'proposed', 'low', 'high', 'precision'):
      if not isinstance(estimate[name], int | float | None):
        raise TypeError(f'{rule}: {name} of the estimate is no number')
