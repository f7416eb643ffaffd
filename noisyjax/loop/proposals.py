"""Rows put before a person, as a CSV to fill in and a contact sheet: labels that `find` doubts, and rows to curate."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from noisyjax.data import split
from noisyjax.loop import decisions_file, own_csv, sheet
from noisyjax.system import formats, reading, storage
from noisyjax.system.errors import UserError, check_choice, listed
from noisyjax.system.log import log
from noisyjax.tables import rejections, store
from noisyjax.tables.compare import shown
from noisyjax.tables.rows import LABELED, TRAIN, Rows

_COLUMNS = ('file', 'given', 'suggested', 'score', 'flagged')


def of_issues(
  table: store.Table,
  issues: str,
  folder: Path,
  *,
  action: str = 'label',
  least: float = 0.0,
  most: int = 0,
  root: str = '',
) -> int:
  """Proposes what `find` flagged: proposals.csv, the most suspicious first, and proposals.png.

  Rows that a person checked, that do not train or whose label changed since are not proposed, nor is what a person
  rejected.

  Args:
    table: that the proposals are about.
    issues: issues.csv, or the folder it lies in.
    folder: where to.
    action: label (the suggested class) or unlabel.
    least: proposals of a lower score are left out.
    most: at most so many; 0: all.
    root: folder or zip of the images; '': the one that the table was made of.

  Returns:
    The number of proposals.

  Raises:
    UserError: no such file, another kind of file, or one of other images.
  """
  check_choice('--action', action, ('label', 'unlabel'))
  rows, classes = table.rows, table.classes
  place_of = {name: place for place, name in enumerate(rows.name.tolist())}
  places, labels, scores = [], [], []
  unknown, rejected = [], rejections.read(table.folder)
  file = _issues_file(issues)
  found = own_csv.read(file, _COLUMNS, 'find')
  for number, row in enumerate(found, 1):
    if row['file'] not in place_of:
      unknown.append(row['file'])
      continue
    place, score = place_of[row['file']], _score(row['score'], f'{issues}: row {number}')
    now = classes[rows.label[place]] if rows.label[place] >= 0 else ''
    free = rows.split[place] == TRAIN and rows.status[place] == LABELED and rows.verified[place] < 0
    label = row['suggested'] if action == 'label' else ''
    free = free and not rejections.holds(rejected, str(rows.id[place]), action, label)
    if row['flagged'] == '1' and free and row['given'] == now != row['suggested'] and score >= least:
      places.append(place)
      labels.append(label)
      scores.append(f'{score:.6f}')
  if unknown and len(unknown) == len(found):
    raise UserError(f'{issues}: none of its images is in this table, such as {listed(unknown[:1])}; expected its own.')
  count = min(most or len(places), len(places))
  places, labels, scores = places[:count], labels[:count], scores[:count]
  columns = {
    'action': [action] * count,
    'label': labels,
    'author': ['rule:find'] * count,
    'reason': ['flagged by find'] * count,
    'evidence': scores,
  }
  captions = [
    (rows.name[place], f'{shown(rows, place, classes)} > {label or "no label"}', score)
    for place, label, score in zip(places, labels, scores)
  ]
  entry = {
    'rule': 'find',
    'params': {'action': action, 'min_score': least, 'n': most},
    'made_on': table.version.name,
    'evidence': {'file': file.name, 'sha256': storage.sha256(file)},
  }
  write_proposed(table, places, columns, captions, folder, root, columns['author'], {'rule:find': entry})
  return count


def _issues_file(path: str) -> Path:
  place = reading.path_of(path, '--issues')
  return reading.file_of(place / 'issues.csv' if place.is_dir() else place, '--issues')


def _score(text: str, where: str) -> float:
  """Returns a score, NaN for none; a spreadsheet may have saved it with a decimal comma."""
  try:
    return float(text.replace(',', '.') or 'nan')
  except ValueError:
    raise UserError(f'{where}: score: found {text!r}; expected a number.') from None


def curate(table: store.Table, count: int, folder: Path, *, seed: int = 0, root: str = '') -> int:
  """Draws training rows for a person to label, as validation: curate.csv and curate.png, without labels to lean on.

  The draw is stratified by label (unlabeled rows are a stratum), keeps copies of an image together, and takes no row
  that a person checked.

  Args:
    table: to draw from.
    count: rows wanted.
    folder: where to.
    seed: of the draw.
    root: as in `of_issues`.

  Returns:
    The number of rows drawn.

  Raises:
    UserError: fewer rows than that can be drawn.
  """
  rows = table.rows
  places = drawn(rows, count, seed)
  columns = {'action': ['curate'] * len(places), 'reason': ['drawn for validation'] * len(places)}
  captions = [(f'{i + 1}', rows.name[place]) for i, place in enumerate(places)]
  write(table, places, columns, captions, folder, 'curate', root)
  return len(places)


def drawn(rows: Rows, count: int, seed: int = 0, flag: str = '--n') -> list[int]:
  """Returns the places of the rows that `curate` draws; raises UserError, naming the flag, if there are fewer."""
  pool = np.flatnonzero((rows.split == TRAIN) & (rows.verified < 0) & (rows.weight > 0))
  if not 0 < count <= len(pool):
    raise UserError(f'{flag}: found {count}; expected 1 to {len(pool)}, the training rows that nobody checked.')
  digests = np.where(rows.digest == '', rows.id, rows.digest).astype('U64')
  copies = np.unique(digests, return_inverse=True)[1]
  places = split.draw(pool, count / len(pool), rows.label, copies, split.rng(seed, 'curate'))
  return split.rng(seed, 'order').permutation(places).tolist()


def write_proposed(
  table: store.Table,
  places: Sequence[int],
  columns: dict[str, list[str]],
  captions: Sequence[Sequence[str]],
  folder: Path,
  root: str,
  rules: Sequence[str],
  entries: Mapping[str, Any],
) -> None:
  """Writes proposals.csv, .json and .png as `write` does; the JSON says what was proposed, and by whom.

  Args:
    table: see `write`.
    places: see `write`.
    columns: see `write`; action and label are there.
    captions: see `write`.
    folder: folder of the files.
    root: see `write`.
    rules: "rule:NAME" of each row.
    entries: rule → what it says of itself, see `rules.apply.Outcome`.
  """
  said = [rejections.said(*proposal) for proposal in zip(columns['action'], columns['label'])]
  ids = table.rows.id[places].tolist()
  proposed = [each for each, action in zip(zip(ids, rules, said), columns['action']) if action]  # else it only asks
  write(table, places, columns, captions, folder, 'proposals', root, {'rules': dict(entries), 'proposed': proposed})


def write(
  table: store.Table,
  places: Sequence[int],
  columns: dict[str, list[str]],
  captions: Sequence[Sequence[str]],
  folder: Path,
  name: str,
  root: str,
  about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
  """Writes rows to decide on as NAME.csv with NAME.json and, where the images are files, NAME.png.

  A CSV of an earlier call that somebody changed since, and its JSON, are kept under a name with a number.

  Args:
    table: that the rows are of.
    places: of the rows.
    columns: some of `decisions_file.COLUMNS`.
    captions: lines below the pictures.
    folder: where to.
    name: of the files.
    root: folder or zip of the images; '': the one that the table was made of.
    about: what `decisions_file.read` finds in the JSON.
  """
  storage.make_folder(folder)
  path, picture = folder / f'{name}.csv', folder / f'{name}.png'
  text = decisions_file.text(table.rows, places, columns)
  _keep(path)
  storage.remove(path)  # with the JSON of other proposals, all that it lacks would count as rejected
  content = {**about, 'csv': hashlib.sha256(text.encode()).hexdigest()}
  formats.write_json(formats.LABEL_TABLE, path.with_suffix('.json'), content)
  names = [str(table.rows.name[place]) for place in places]
  if not sheet.write(picture, root or table.facts['source'].get('images', ''), names, captions):
    storage.remove(picture)
  storage.write_text(path, text)  # last: a loop that finds it is done here


def _keep(path: Path) -> None:
  """Gives a CSV that is not as it was written, and the JSON beside it, another name: a person filled it in."""
  beside = path.with_suffix('.json')
  if not path.exists():
    return
  written = formats.read_json(formats.LABEL_TABLE, beside).get('csv') if beside.exists() else None
  if storage.sha256(path) == written:
    return
  free = next(other for n in itertools.count(1) if not (other := path.with_suffix(f'.{n}.csv')).exists())
  for file, other in ((beside, free.with_suffix('.json')), (path, free)):
    if file.exists():
      file.replace(other)
  log.warning('%s: was changed since it was written; it is kept as %s.', path, free)
