"""CSV files that noisyjax wrote and a spreadsheet may have saved again: with ; or tabs, in UTF-16, with blank lines."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from noisyjax.data import table
from noisyjax.system import storage
from noisyjax.system.errors import UserError, listed


def read(path: Path, needed: Sequence[str], written_by: str) -> list[dict[str, str]]:
  """Reads a CSV file of our own.

  Args:
    path: the file.
    needed: columns that it must have.
    written_by: the command that writes such files, for messages.

  Returns:
    Column → cell for each row; cells keep their spaces, as names of files and classes may have some.

  Raises:
    UserError: the file cannot be read, lacks a column, or has a row of another length.
  """
  text = table.decoded(path, storage.read_bytes(path))
  separator = max(table.SEPARATORS, key=text.partition('\n')[0].count)
  try:
    lines = [line for line in csv.reader(io.StringIO(text, newline=''), delimiter=separator) if any(line)]
  except csv.Error as error:
    raise UserError(f'{path}: is no CSV file: {error}; expected what `{written_by}` writes.') from None
  header, *rows = [[storage.csv_original(cell) for cell in line] for line in lines] or [[]]
  if twice := [name for name in needed if header.count(name) > 1]:
    raise UserError(f'{path}: has {header.count(twice[0])} columns {twice[0]!r}; expected one.')
  if missing := [name for name in needed if name not in header]:
    found = f'has no column {missing[0]!r} among {listed(header)}' if header else 'is empty'
    raise UserError(f'{path}: {found}; expected what `{written_by}` writes.')
  for count, row in enumerate(rows, 1):
    if len(row) != len(header):
      raise UserError(f'{path}: row {count}: has {len(row)} cells; expected {len(header)}, as in its first line.')
  return [dict(zip(header, row)) for row in rows]
