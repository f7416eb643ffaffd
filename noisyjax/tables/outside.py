"""A version as plain columns for other programs, and such columns back as rows: labels and statuses are words."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noisyjax.system.errors import UserError, check_choice, listed
from noisyjax.tables.edits import changed
from noisyjax.tables.rows import COLUMNS, SPLITS, STATE, STATUSES, TEST, Rows, check
from noisyjax.tables.versions import SHORT, Version

LABELS = ('label', 'verified', 'given_label')
NO_LABEL = ''


def columns(version: Version, places: np.ndarray | slice = slice(None)) -> dict[str, list[Any]]:
  """Returns the columns of `Rows` as lists [n]; '' is no label."""
  names = [*version.classes, NO_LABEL]  # -1 is the last
  words = {'split': SPLITS, 'status': STATUSES} | dict.fromkeys(LABELS, names)
  out = {name: getattr(version.rows, name)[places].tolist() for name in COLUMNS}
  return {name: [words[name][code] for code in values] if name in words else values for name, values in out.items()}


def cleanlab(version: Version) -> dict[str, list[Any]]:
  """Returns the rows that have a given label, by cleanlab's column names, with id, name and the names of the classes.

  is_label_issue: the table no longer holds what was given. predicted_label: the number of the class that it holds
  instead, -1 where the row has no label now. label_quality: 1 for a label that stands as it was given, 0 for another.
  """
  rows, names = version.rows, [*version.classes, NO_LABEL]
  places = np.flatnonzero(rows.given_label >= 0)
  issue = rows.label[places] != rows.given_label[places]
  return {
    'id': rows.id[places].tolist(),
    'name': rows.name[places].tolist(),
    'is_label_issue': issue.tolist(),
    'label_quality': (1.0 - issue).tolist(),
    'given_label': rows.given_label[places].tolist(),
    'predicted_label': rows.label[places].tolist(),
    'given_class': [names[c] for c in rows.given_label[places].tolist()],
    'predicted_class': [names[c] for c in rows.label[places].tolist()],
  }


def imported(version: Version, found: Mapping[str, Sequence[Any]], where: str) -> Rows:
  """Returns the rows of a version with the states that columns from outside give them.

  Args:
    version: the version that they are to follow.
    found: columns `id`, `split`, `status`, `label`, `verified` and `weight`, as `columns` returns them; others are not
      read, except `given_label`, which must not differ, and `version`, which tells whether a row has changed since.
      Rows that are not among them stay as they are.
    where: what messages call the file.

  Raises:
    UserError: a column is missing; an id is unknown or named twice; a value is not one that the column may hold; a row
      breaks the invariant; a test row would change; a row that would change has changed since.
  """
  if missing := [name for name in ('id', *STATE) if name not in found]:
    raise UserError(f'{where}: has no column {listed(missing)}; expected the columns that `table export` writes.')
  places = version.rows.places(found['id'])
  if (places < 0).any():
    unknown = [str(id) for id, place in zip(found['id'], places) if place < 0]
    raise UserError(f'{where}: {len(unknown)} ids are not in this table: {listed(unknown)}. It is of another table.')
  if len(np.unique(places)) < len(places):
    raise UserError(f'{where}: an id has several rows; expected one a row.')
  read = {'split': _coder(SPLITS), 'status': _coder(STATUSES)} | dict.fromkeys(LABELS, _coder(version.classes, True))
  new = {}
  for name in (*STATE, *(['given_label'] if 'given_label' in found else [])):
    column = getattr(version.rows, name).copy()
    for place, value in zip(places.tolist(), found[name]):
      try:
        column[place] = read.get(name, float)(value)
      except (ValueError, TypeError) as error:
        raise UserError(f'{where}: {version.rows.name[place]}: {name}: {error}; expected a number.') from None
      except UserError as error:
        raise UserError(f'{where}: {version.rows.name[place]}: {name}: {error}') from None
    new[name] = column
  if not np.array_equal(new.pop('given_label', version.rows.given_label), version.rows.given_label):
    raise UserError(f'{where}: its given labels are not those of this table; they are never changed.')
  rows = dataclasses.replace(version.rows, **new)
  check(rows, len(version.classes))
  moved = changed(version.rows, rows)
  tests = (version.rows.split[moved] == TEST) | (rows.split[moved] == TEST)
  if tests.any():
    raise UserError(f'{where}: would change {int(tests.sum())} test rows; test rows are never edited.')
  _check_newest(version, places, found, moved, where)
  return rows


def _check_newest(
  version: Version, places: np.ndarray, found: Mapping[str, Sequence[Any]], moved: np.ndarray, where: str
) -> None:
  """Raises UserError if rows that would change have changed since the columns were written: that would be undone."""
  if 'version' not in found:
    return
  since = version.rows.version.copy()
  since[places] = ['' if value is None or value != value else str(value) for value in found['version']]
  old = moved[since[moved] != version.rows.version[moved]]
  if len(old):
    raise UserError(
      f'{where}: {len(old)} rows that would change have changed since it was written: '
      f'{listed(version.rows.name[old].tolist())}. Expected a file of the version {version.name[:SHORT]}: export it '
      'and change it again. `table revert` goes back to an older version.'
    )


def _coder(words: Sequence[str], none: bool = False) -> Any:
  """Returns a function from a word to its number; with `none`, None, NaN and '' are -1."""
  codes = {word: code for code, word in enumerate(words)}

  def code(value: Any) -> int:
    if none and (value is None or value == NO_LABEL or value != value):
      return -1
    if str(value) not in codes:
      check_choice('value', str(value), words)
    return codes[str(value)]

  return code
