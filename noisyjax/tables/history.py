"""The history of one row, version by version, and the number of rows of each class."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from noisyjax.system.errors import UserError, listed
from noisyjax.tables import refs, versions
from noisyjax.tables.compare import shown
from noisyjax.tables.rows import SPLITS, UNLABELED
from noisyjax.tables.versions import SHORT, Version


def of_row(folder: Path, version: Version, row: str) -> Iterator[str]:
  """Yields a line for each version that changed a row, newest first; the last line is the label from the source.

  Args:
    folder: folder of the table.
    version: the newest version to report.
    row: id, beginning of the id, or name of the row.

  Raises:
    UserError: no row matches, or several do.
  """
  rows = version.rows
  found = [i for i in range(len(rows)) if rows.name[i] == row or (len(row) >= 4 and rows.id[i].startswith(row))]
  if len(found) != 1:
    near = listed(rows.name[found[:3]].tolist()) if found else f'none, the first is {rows.name[0]!r}'
    raise UserError(f'--row: {row!r} names {len(found)} rows ({near}); expected one.')
  place = found[0]
  yield f'{rows.name[place]} ({SPLITS[rows.split[place]]}) {rows.id[place]}'
  for line in of_place(folder, version, place):
    yield f'  {line}'


def of_place(folder: Path, version: Version, place: int) -> Iterator[str]:
  """Yields the lines of `of_row` that follow its first, for the row at a place."""
  rows, id = version.rows, version.rows.id[place]
  names = list(refs.ancestors(folder, version.name))
  while True:
    at = rows.version[place]
    by, reason, evidence = (getattr(rows, name)[place] for name in ('by', 'reason', 'evidence'))
    why = f'{by}: {reason or "no reason given"}' + (f' ({evidence})' if evidence else '') if at else by
    yield f'{at[:SHORT] or names[-1][:SHORT]} {shown(rows, place, version.classes)}, {why}'
    if not at:
      return
    rows = versions.read(folder, names[names.index(at) + 1]).rows
    if (place := int(rows.places([id])[0])) < 0:  # it joined the table in the version `at`
      return


def by_class(version: Version) -> Iterator[str]:
  """Yields the rows of each split by class, and the number of verified ones."""
  rows = version.rows
  for code, split in enumerate(SPLITS):
    of = (rows.split == code) & (rows.status <= UNLABELED)
    if of.any():
      counts = np.bincount(rows.label[of] + 1, minlength=len(version.classes) + 1).tolist()
      parts = [f'{name} {count:,}' for name, count in zip(['unlabeled', *version.classes], counts) if count]
      yield f'{split}: {", ".join(parts)}; {int((rows.verified[of] >= 0).sum()):,} verified'
